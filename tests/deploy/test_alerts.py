"""Alerts fire when they should, and only then: in Prometheus' test of rules, and with a server's metrics."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grpc import aio

from docsite.metrics import collectors, registries
from pipecd import piped
from pipecd.controlplane.faults import contained
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.schema.agent.deployments_pb2 import CreateDeploymentRequest
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.deployment_pb2 import DEPLOYMENT_FAILURE
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from tests.analysis.prometheus_server import Prometheus, prometheus_server
from tests.controlplane.server_fixture import control_plane
from tests.controlplane.test_agents import Agent, application, completion_report, deployment
from tests.eventually import eventually

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
RULES: Mapping[str, Any] = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
}
#: Labels that Prometheus adds to the series of a target. Its own have precedence over those of a program.
OF_TARGET = {"job", "instance"}
#: What a program has by itself, and what a histogram adds.
STANDARD = {"le"}
TARGET = 'instance="one:9085",job="pipecd"'


@dataclass(frozen=True, kw_only=True)
class Case:
    """`series`: a value for each minute, in Prometheus' notation. `fires`: the labels of the alerts at AT."""

    alert: str
    name: str
    series: Mapping[str, str]
    fires: Sequence[Mapping[str, str]] = ()


#: Between two samples, so that `increase` extrapolates.
AT = "85m30s"


def histogram(name: str, labels: str, within: int, of: int, le: float) -> Mapping[str, str]:
    """In each minute `of` observations, of which `within` are at most `le`, and all at most 5."""
    return {
        f'{name}_bucket{{{labels},le="{bound}"}}': f"0+{count}x90"
        for bound, count in ((f"{le:g}", within), ("5", of), ("+Inf", of))
    }


def counter(metric: str, labels: str, values: str) -> Mapping[str, str]:
    return {f"{metric}_total{{{labels}{',' if labels else ''}{TARGET}}}": values}


JOB = "a job"
ONE = {"instance": "one:9085", "job": "pipecd"}


def steps(count: int) -> str:
    """A counter that is raised in so many minutes, the first of them less than an hour before AT."""
    return f"10x30 11+1x{count - 1} {10 + count}x90"


CASES = [
    Case(
        alert="PipecdCallsFail",
        name="internal errors in each minute",
        series=counter("pipecd_rpc_calls", 'method="GetMe",code="INTERNAL"', "0+1x90"),
        fires=[{}],
    ),
    Case(
        alert="PipecdCallsFail",
        name="one internal error",
        series=counter("pipecd_rpc_calls", 'method="GetMe",code="INTERNAL"', "0x80 1x10"),
    ),
    Case(
        alert="PipecdCallsFail",
        name="refused calls",
        series=counter("pipecd_rpc_calls", 'method="GetMe",code="PERMISSION_DENIED"', "0+9x90"),
    ),
    Case(
        alert="PipecdCallsSlow",
        name="a tenth takes longer than a second",
        series=histogram("pipecd_rpc_seconds", 'service="WebService"', 90, 100, 1),
        fires=[{"service": "WebService"}],
    ),
    Case(
        alert="PipecdCallsSlow",
        name="a fiftieth takes longer than a second",
        series=histogram("pipecd_rpc_seconds", 'service="WebService"', 98, 100, 1),
    ),
    Case(
        alert="PipecdEventLoopBlocked",
        name="ten seconds of each minute",
        series=counter("event_loop_blocked_seconds", "", "0+10x90"),
        fires=[ONE],
    ),
    Case(
        alert="PipecdEventLoopBlocked",
        name="ten seconds once",
        series=counter("event_loop_blocked_seconds", "", "0x80 10x10"),
    ),
    Case(
        alert="PipecdJobsFail",
        name="three faults of a job",
        series={
            **counter("pipecd_job_faults", 'name="prune"', steps(3)),
            **counter("pipecd_job_faults", 'name="seal-audit-log"', steps(2)),
        },
        fires=[{"name": "prune"}],
    ),
    Case(
        alert="PipecdJobsFail",
        name="two faults of a job",
        series=counter("pipecd_job_faults", 'name="prune"', steps(2)),
    ),
    Case(
        alert="PipedInternalErrors",
        name="three faults of a loop",
        series={
            **counter("piped_faults", 'loop="trigger"', steps(3)),
            **counter("piped_faults", 'loop="planner"', steps(2)),
        },
        fires=[{"loop": "trigger", "instance": "one:9085"}],
    ),
    Case(
        alert="PipedInternalErrors",
        name="two faults of each of two agents",
        series={
            'piped_faults_total{loop="trigger",instance="one"}': steps(2),
            'piped_faults_total{loop="trigger",instance="two"}': steps(2),
        },
    ),
    Case(
        alert="PipedNotificationsLost",
        name="one message",
        series=counter("piped_notifications", 'sink="slack",outcome="lost"', "0x30 1x60"),
        fires=[{"sink": "slack"}],
    ),
    Case(
        alert="PipedNotificationsLost",
        name="messages that were not accepted at once",
        series=counter("piped_notifications", 'sink="slack",outcome="failed"', "0+1x90"),
    ),
    Case(
        alert="PipecdNotificationsFail",
        name="six attempts",
        series=counter("pipecd_notifications", 'outcome="failed"', steps(6)),
        fires=[{}],
    ),
    Case(
        alert="PipecdNotificationsFail",
        name="five attempts",
        series=counter("pipecd_notifications", 'outcome="failed"', steps(5)),
    ),
    Case(
        alert="PipedRestarts",
        name="four times",
        series=counter("launcher_agent_failures", "", steps(4)),
        fires=[ONE],
    ),
    Case(
        alert="PipedRestarts",
        name="three times",
        series=counter("launcher_agent_failures", "", steps(3)),
    ),
    Case(
        alert="PipecdDeploymentsFail",
        name="six deployments, at two servers",
        series={
            'pipecd_deployments_total{status="FAILURE",instance="one"}': steps(3),
            'pipecd_deployments_total{status="FAILURE",instance="two"}': steps(3),
        },
        fires=[{}],
    ),
    Case(
        alert="PipecdDeploymentsFail",
        name="five deployments",
        series={
            **counter("pipecd_deployments", 'status="FAILURE"', steps(5)),
            **counter("pipecd_deployments", 'status="CANCELLED"', steps(6)),
            **counter("pipecd_deployments", 'status="SUCCESS"', steps(6)),
        },
    ),
    Case(
        alert="PipecdChangesDelayed",
        name="a tenth",
        series=histogram("pipecd_feed_lag_seconds", TARGET, 90, 100, 0.5),
        fires=[{"instance": "one:9085"}],
    ),
    Case(
        alert="PipecdChangesDelayed",
        name="a fiftieth",
        series=histogram("pipecd_feed_lag_seconds", TARGET, 98, 100, 0.5),
    ),
    Case(
        alert="PipecdMessagesWait",
        name="of a project, at two servers",
        series={
            'pipecd_outbox_pending{project="shop",receiver="slack",instance="one"}': "101x90",
            'pipecd_outbox_pending{project="shop",receiver="slack",instance="two"}': "101x90",
        },
        fires=[{"project": "shop", "receiver": "slack"}],
    ),
    Case(
        alert="PipecdMessagesWait",
        name="of an agent, or fewer",
        series={
            'pipecd_outbox_pending{receiver="slack",instance="one"}': "101x90",
            'pipecd_outbox_pending{project="shop",receiver="slack",instance="two"}': "100x90",
        },
    ),
    Case(
        alert="PipedMessagesWait",
        name="of one of two agents",
        series={
            'pipecd_outbox_pending{receiver="slack",instance="one"}': "101x90",
            'pipecd_outbox_pending{receiver="slack",instance="two"}': "100x90",
        },
        fires=[{"receiver": "slack", "instance": "one"}],
    ),
    Case(
        alert="PipedMessagesWait",
        name="of a project, or for a short time",
        series={
            'pipecd_outbox_pending{project="shop",receiver="slack",instance="one"}': "101x90",
            'pipecd_outbox_pending{receiver="slack",instance="one"}': "0x70 101x20",
        },
    ),
]


def test_each_alert_has_cases_that_fire_and_that_do_not() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if bool(case.fires) is fires} == RULES.keys()


def test_the_labels_of_cases_are_those_of_the_metrics() -> None:
    """And none has the name of a label that Prometheus sets, which would replace it."""
    labels: dict[str, set[str]] = {}
    for registry in registries():
        for collector in collectors(registry):
            (metric,) = collector.describe()
            assert not OF_TARGET & set(collector._labelnames), metric.name
            labels.setdefault(metric.name, set()).update(collector._labelnames)
    for case in CASES:
        for series in case.series:
            name, _, text = series.partition("{")
            used = set(re.findall(r"(\w+)=", text)) - OF_TARGET - {"le"}
            assert used <= labels[re.sub("_(bucket|total)$", "", name)], f"{case.alert}: {series}"


def test_series_of_internal_errors_exist_from_the_start() -> None:
    """The increase of one that appears with its first error does not count that."""
    folder = Path(piped.__file__).parent
    text = "".join(file.read_text() for file in folder.rglob("*.py"))
    names = set(re.findall(r'INTERNAL_ERRORS\.labels\(loop="([^"]+)"\)', text))
    exported = {sample.labels["loop"] for metric in INTERNAL_ERRORS.collect() for sample in metric.samples}
    assert names and names <= exported


def test_alerts_fire_only_when_they_should(tmp_path: Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("install prometheus, for example Debian's package")
    tests = [
        {
            "name": f"{case.alert}: {case.name}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            "alert_rule_test": [
                {
                    "eval_time": AT,
                    "alertname": case.alert,
                    "exp_alerts": [expected(RULES[case.alert], labels) for labels in case.fires],
                }
            ],
        }
        for case in CASES
    ]
    file = tmp_path / "alerts_test.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests})
    )
    run = subprocess.run([program, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def expected(rule: Mapping[str, Any], labels: Mapping[str, str]) -> Mapping[str, Any]:
    """The alert, with `labels` in its texts."""
    texts = {
        key: re.sub(r"{{ \$labels\.(\w+) }}", lambda match: labels[match[1]], text)
        for key, text in rule["annotations"].items()
    }
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": texts}


async def test_prometheus_fires_alerts_of_a_servers_metrics(tmp_path: Path) -> None:
    """The rules as they are shipped: six deployments fail, and a job has three internal errors."""
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(control_plane(tmp_path))
        piped_id, key = await plane.register_piped()
        channel = await stack.enter_async_context(aio.insecure_channel(plane.address))
        agent = Agent(channel, piped_id, key)
        repository = ApplicationGitRepository(id="demo", remote="https://git.example/d.git", branch="main")
        await agent.call("ReportPipedMeta", ReportPipedMetaRequest(repositories=[repository]))
        application_id = await application(plane, agent)
        target = {"targets": [f"127.0.0.1:{plane.server.ports.admin}"]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [{"job_name": "pipecd", "static_configs": [target]}],
        }
        prometheus = await stack.enter_async_context(prometheus_server(tmp_path, {}, config))
        http = await stack.enter_async_context(httpx.AsyncClient(verify=False))
        with contained(JOB):
            pass
        # With their values before the faults, without which there is no increase.
        await prometheus.wait_for('pipecd_deployments_total{status="FAILURE"}')
        await prometheus.wait_for(f'pipecd_job_faults_total{{name="{JOB}"}}')
        assert await firing(http, prometheus) == {}

        for number in range(6):
            id = f"d{number}"
            request = CreateDeploymentRequest(deployment=deployment(agent, application_id, id))
            await agent.call("CreateDeployment", request)
            await agent.call("ReportDeploymentCompleted", completion_report(id, DEPLOYMENT_FAILURE))
        for _ in range(3):
            with contained(JOB):
                raise ZeroDivisionError

        async def have_fired() -> Mapping[str, Any]:
            alerts = await firing(http, prometheus)
            return alerts if len(alerts) == 2 else {}

        assert await eventually(have_fired) == {
            "PipecdDeploymentsFail": "More than five deployments failed within an hour.",
            "PipecdJobsFail": f"The job {JOB} of the control plane fails.",
        }


async def firing(http: httpx.AsyncClient, prometheus: Prometheus) -> Mapping[str, str]:
    response = await http.get(f"{prometheus.address}/api/v1/alerts")
    return {
        alert["labels"]["alertname"]: alert["annotations"]["summary"]
        for alert in response.json()["data"]["alerts"]
        if alert["state"] == "firing"
    }

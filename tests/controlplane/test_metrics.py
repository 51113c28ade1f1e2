"""Metrics of the control plane, and those of agents that it publishes."""

from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from pipecd.client import PipedToken, Transport, connect
from pipecd.clock import SYSTEM_CLOCK
from pipecd.controlplane.http.metrics import CountRequests
from pipecd.controlplane.records import metrics
from pipecd.controlplane.records.metrics import Reported, merge
from pipecd.controlplane.rpc.table import CONSOLE, WEB, methods
from pipecd.controlplane.store import outbox
from pipecd.piped.metrics import REGISTRY as AGENT_METRICS
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.kind_pb2 import KUBERNETES
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, control_plane
from tests.eventually import eventually

PAGE = b"""# HELP go_goroutines Number of goroutines.
# TYPE go_goroutines gauge
go_goroutines{piped="forged",version="v1"} 42 1700000000000
# HELP plan_preview_command_received_total Plan previews requested
# TYPE plan_preview_command_received_total counter
plan_preview_command_received_total 3
"""


def text(reports: list[Reported]) -> str:
    return metrics._text(merge(reports)).decode()


def report(page: bytes, piped_id: str = "p1") -> Reported:
    return Reported(project_id="shop", piped_id=piped_id, text=page)


def test_the_metrics_of_agents_are_one_page_with_the_names_of_their_owners() -> None:
    page = text([report(PAGE), report(PAGE, "p2")])
    assert page.count("# TYPE go_goroutines gauge") == 1
    assert 'go_goroutines{piped="p1",project="shop",version="v1"} 42.0\n' in page
    assert 'plan_preview_command_received_total{piped="p2",project="shop"} 3.0\n' in page
    assert "forged" not in page and "1700000000" not in page


@pytest.mark.parametrize(
    "page",
    [
        b"\xff",
        b"a b c d e",
        b"x{",
        b'x{a="\n"} 1',
        b"# TYPE x histogram\nx_bucket 1\n# TYPE x gauge\n# EOF y",
        b"x 1\n" * (metrics.MAX_AGENT_SIZE // 4 + 1),
        b"\x00 1",
        "ü{ü='ü'} 1".encode(),
    ],
)
def test_an_agent_with_an_invalid_page_does_not_break_that_of_others(page: bytes) -> None:
    published = text([report(page, "hostile"), report(PAGE)])
    assert 'go_goroutines{piped="p1",project="shop",version="v1"} 42.0' in published
    # Prometheus, and this parser, accept it.
    assert [*text_string_to_metric_families(published)]


def test_a_metric_of_another_type_is_left_out() -> None:
    other = b"# TYPE go_goroutines counter\ngo_goroutines_total 1\ngo_goroutines 7\n"
    published = text([report(PAGE), report(other, "p2")])
    assert published.count("# TYPE go_goroutines ") == 1
    assert 'go_goroutines{piped="p2"' not in published


async def test_the_admin_port_publishes_what_is_stored_and_what_agents_report(tmp_path: Path) -> None:
    # Without jobs: one gives up messages to receivers that do not exist.
    async with control_plane(tmp_path, with_jobs=False) as plane, httpx.AsyncClient(verify=False) as http:
        store = plane.server.services.store
        application = Application(id="a", project_id=PROJECT, name="shop", kind=KUBERNETES)
        await store.create(application, by=TESTER)
        await outbox.add(store, PROJECT, ["slack"], "key", "{}", plane.server.services.clock.now())
        piped_id, key = await plane.register_piped()
        client = await connect(
            plane.address,
            PipedToken(project_id=PROJECT, piped_id=piped_id, key=key),
            Transport(insecure=True),
        )
        await client.call(client.piped.ReportStat, ReportStatRequest(piped_stats=PAGE))
        await client.close()
        base = f"http://127.0.0.1:{plane.server.ports.admin}"
        own, agents = (
            (await http.get(f"{base}/metrics")).text,
            (await http.get(f"{base}/metrics/agents")).text,
        )
    assert f'insight_application_total{{app_kind="KUBERNETES",project="{PROJECT}"}} 1.0' in own
    assert f'pipecd_outbox_pending{{project="{PROJECT}",receiver="slack"}} 1.0' in own
    assert "pipecd_feed_lag_seconds_count" in own
    assert f'go_goroutines{{piped="{piped_id}",project="{PROJECT}",version="v1"}} 42.0' in agents
    assert "insight_application_total" not in agents


def test_paths_of_requests_are_a_fixed_set() -> None:
    counted = CountRequests(None, methods((WEB, CONSOLE)), SYSTEM_CLOCK)  # type: ignore[arg-type]
    service = "grpc.service.webservice.WebService"
    assert {
        path: counted._path(path)
        for path in (
            "/",
            "/applications/1",
            "/assets/a.js",
            "/hooks/github",
            "/api/x",
            "/auth/login",
            "/auth/x",
        )
    } == {
        "/": ("/", False),
        "/applications/1": ("/", False),
        "/assets/a.js": ("/assets/", False),
        "/hooks/github": ("/hooks/", False),
        "/api/x": ("/api/", False),
        "/auth/login": ("/auth/login", False),
        "/auth/x": ("/auth/", False),
    }
    assert counted._path(f"/api/{service}/GetMe") == (f"/api/{service}/GetMe", False)
    assert counted._path("/api/pipecd.v1.ConsoleService/Watch")[1]


async def test_requests_and_reads_of_credentials_are_counted(tmp_path: Path) -> None:
    def counts() -> list[float]:
        path = "/api/grpc.service.webservice.WebService/GetMe"
        labels = {"code": "200", "method": "POST", "path": path}
        samples = (
            ("http_requests_total", labels),
            ("http_request_duration_milliseconds_count", labels),
            ("http_requests_total", {"code": "404", "method": "other", "path": "/api/"}),
        )
        return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in samples]

    async with control_plane(tmp_path) as plane:
        before = counts()
        await plane.console.call("GetMe")
        response = await plane.console.http.request("PROPFIND", f"{plane.url}/api/nothing/here")
        assert response.status_code == 404

        async def are_counted() -> bool:
            # A request is counted once its response has been sent.
            return [after - count for after, count in zip(counts(), before, strict=True)] == [1, 1, 1]

        await eventually(are_counted)


def test_metrics_of_agents_have_pipecds_names() -> None:
    import pipecd.platforms.kubernetes.metrics
    import pipecd.stages.analysis  # noqa: F401

    names = {metric.name for metric in AGENT_METRICS.collect()}
    assert names >= {
        "cloudprovider_kubernetes_tool_calls",
        "livestatestore_kubernetes_api_requests",
        "livestatestore_kubernetes_resource_events",
        "deployment_status",
        "plan_preview_command_handling_seconds",
        "pipecd_analysis_value",
        "pipecd_outbox_pending",
    }

"""From a push or an event to shifted traffic and back: real control plane, agent, Git server and Prometheus.

AWS is emulated, and Slack imitated by a server that checks its documented rules.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.event_pb2 import EventStatus
from pipecd.schema.model.kind_pb2 import ECS
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.analysis.prometheus_server import Prometheus, prometheus_server
from tests.e2e.test_events import event_watch, handled, pulled, register
from tests.eventually import eventually
from tests.piped.receiver_server import ReceiverServer, Slack
from tests.platforms.aws.emulator import REGION, Emulator
from tests.platforms.ecs.cloud import ALL_TO_PRIMARY, Cloud, files
from tests.slack_thread import CHANNEL, check_thread, slack_notifications, titles_of_bad_canary
from tests.world import World, world

PROVIDERS = [{"name": "ecs", "type": "ECS", "config": {"region": REGION}}]
ERRORS = 'errors{app="shop"}'
METRIC = {
    "provider": "prometheus",
    "query": 'errors{app="{{ .App.Name }}"}',
    "expected": {"max": 2},
    "interval": "1s",
}
STAGES = [
    {"name": "ECS_CANARY_ROLLOUT", "with": {"scale": 50}},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"canary": 20}},
    {"name": "ANALYSIS", "with": {"duration": "1s", "metrics": [METRIC]}},
    {"name": "WAIT_APPROVAL"},
    {"name": "ECS_PRIMARY_ROLLOUT"},
    {"name": "ECS_TRAFFIC_ROUTING", "with": {"primary": 100}},
    {"name": "ECS_CANARY_CLEAN"},
]
WATCH = event_watch(
    {"file": "taskdef.json", "jsonField": "$.containerDefinitions[0].image"},
    commitMessage="Deploy {{ .Value }}",
)
REASON = "metrics-0: 7 is above 2"
ROLLED_BACK = "The previous version is running again"
TITLES = titles_of_bad_canary("ECS_CANARY_ROLLOUT", "ECS_TRAFFIC_ROUTING")
SHIFTED = [{"primary": 80, "canary": 20}] * 3


async def test_a_canary_is_judged_and_loses_its_traffic_when_cancelled_or_bad(
    aws: Emulator, cloud: Cloud, tmp_path: Path
) -> None:
    slack = Slack(CHANNEL)
    async with prometheus_server(tmp_path, {ERRORS: 1.0}) as prometheus:
        with ReceiverServer(slack) as slack_server:
            configuration = {
                "platformProviders": PROVIDERS,
                "analysisProviders": [
                    {"name": "prometheus", "type": "PROMETHEUS", "config": {"address": prometheus.address}}
                ],
                "notifications": slack_notifications(tmp_path, slack_server.url),
            }
            async with world(tmp_path / "world") as w, w.agent(**configuration):
                app = await deploy_first_version(w, cloud)
                await prometheus.wait_for(ERRORS)
                await check_cancelled_canary(w, cloud, app)
                # Slack limits the rate of messages once.
                slack_server.replies = [(429, {"Retry-After": "1"}, "")]
                bad = await check_bad_canary(w, cloud, app, prometheus)
                await check_thread(slack, bad, TITLES, reason=REASON, rolled_back=ROLLED_BACK)


def commit(cloud: Cloud, name: str) -> Mapping[str, str]:
    commit_files = files(cloud, name, pipeline={"stages": STAGES}, eventWatcher=[WATCH])
    return {f"shop/{file}": text for file, text in commit_files.items()}


async def deploy_first_version(w: World, cloud: Cloud) -> str:
    await w.push("Begin", commit(cloud, "v1"))
    app = await w.register("shop", kind=ECS, provider="ecs")
    first = await w.wait_for_deployment(app)
    assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
    assert cloud.running() == {"v1": "PRIMARY"}
    cloud.serving = True
    return app


async def check_cancelled_canary(w: World, cloud: Cloud, app: str) -> None:
    """Its analysis passes, and it is cancelled while it waits for an approval."""
    await w.push("Better", commit(cloud, "v2"))

    async def waits() -> str:
        deployment = (await w.deployments(app))[-1]
        stages = {stage.id: stage.status for stage in deployment.stages}
        assert stages.get("stage-3") == StageStatus.STAGE_RUNNING, deployment
        return deployment.id

    deployment_id = await eventually(waits)
    assert cloud.weights() == SHIFTED
    await w.wait_for_log(deployment_id, "stage-2", "[metrics-0] passed: ")
    await w.wait_for_log(deployment_id, "stage-2", f"[metrics-0] query: {ERRORS}")
    await w.console.call("CancelDeployment", deployment_id=deployment_id)
    final = await w.wait_until_final(deployment_id)
    assert final.status == DeploymentStatus.DEPLOYMENT_CANCELLED
    assert cloud.running() == {"v1": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY


async def check_bad_canary(w: World, cloud: Cloud, app: str, prometheus: Prometheus) -> Any:
    """An event becomes a commit, whose canary has errors. Returns its deployment, after the rollback."""
    image = "registry.example.com/shop/web:v3"
    before = await asyncio.to_thread(pulled, w, "shop/taskdef.json")
    prometheus.values[ERRORS] = 7.0
    await prometheus.wait_for(f"{ERRORS} > 6")
    cloud.seen.clear()
    event_id = await register(w, image, commit_hash="c0ffee", commit_url="https://git.example.com/c0ffee")
    event = await handled(w, event_id)
    assert event.status == EventStatus.EVENT_SUCCESS, event.status_description
    after = await asyncio.to_thread(pulled, w, "shop/taskdef.json")
    assert after == before.replace("web:v2", "web:v3") and json.loads(after)
    assert w.clone.git("log", "-1", "--format=%B").splitlines() == [
        f"Deploy {image}",
        "",
        "Pipecd-Dev-Trace-Trigger-Commit-Hash: c0ffee",
        f"Pipecd-Event: {event_id}",
    ]
    bad = await w.wait_for_deployment(app, w.clone.git("rev-parse", "HEAD"))
    assert bad.status == DeploymentStatus.DEPLOYMENT_FAILURE
    stages = {stage.id: stage for stage in bad.stages}
    assert stages["stage-2"].status == StageStatus.STAGE_FAILURE
    assert stages["stage-2"].status_reason.startswith(REASON)
    assert SHIFTED in cloud.seen, "the canary had traffic"
    assert cloud.running() == {"v1": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY
    (trace,) = (await w.console.call("ListDeploymentTraces", page_size=10)).traces
    assert trace.trace.commit_hash == "c0ffee"
    assert [deployment.id for deployment in trace.deployments] == [bad.id]
    return bad

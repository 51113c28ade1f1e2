"""From a push to running pods and back: real control plane, agent and Git server, and a real cluster."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from grpc import aio

from pipecd.controlplane.records.live_state import CHANGE_KIND
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.event_pb2 import EventStatus
from pipecd.schema.model.kind_pb2 import KUBERNETES
from pipecd.schema.model.live_state_pb2 import ApplicationLiveStateSnapshot
from pipecd.schema.pipecd.v1.console_pb2 import FollowContainerLogRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from tests.analysis.prometheus_server import Prometheus, prometheus_server
from tests.cluster.control_plane import Cluster
from tests.e2e.test_events import event_watch, handled, pulled, register
from tests.eventually import eventually
from tests.piped.receiver_server import ReceiverServer, Slack
from tests.platforms.kubernetes.node import running_node
from tests.platforms.kubernetes.stage_runner import config_map, deployment
from tests.platforms.kubernetes.test_progressive import primary_service, web
from tests.slack_thread import CHANNEL, check_thread, slack_notifications, titles_of_bad_canary
from tests.world import World, world

METRIC = {"provider": "prometheus", "query": "errors", "expected": {"max": 2}, "interval": "1s"}


def analysis_provider(prometheus: Prometheus) -> dict[str, Any]:
    return {"name": "prometheus", "type": "PROMETHEUS", "config": {"address": prometheus.address}}


def files(namespace: str, image: str, **spec: Any) -> dict[str, str | None]:
    config = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "KubernetesApp",
        "spec": {"name": "shop", "input": {"namespace": namespace}, **spec},
    }
    manifests = [deployment("web", image, replicas=2, deadline=2), config_map("settings", {"a": image})]
    return {
        "shop/app.pipecd.yaml": yaml.safe_dump(config),
        "shop/web.yaml": "---\n".join(json.dumps(manifest) + "\n" for manifest in manifests),
    }


async def test_a_rollout_that_never_becomes_ready_is_rolled_back(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    providers = [
        {"name": "test", "type": "KUBERNETES", "config": {"kubeConfigPath": str(cluster.kubeconfig)}}
    ]

    def live() -> tuple[str, str, int]:
        found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
        settings = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/settings")
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return image, settings["data"]["a"], found["status"]["availableReplicas"]

    async with world(tmp_path / "world") as w, w.agent(platformProviders=providers):
        await w.push("Begin", files(namespace, "web:1"))
        app = await w.register("shop", kind=KUBERNETES, provider="test")
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert [(version.name, version.version) for version in first.versions] == [("web", "1")]
        assert live() == ("web:1", "web:1", 2)

        worse = await w.push("Worse", files(namespace, "web:nopull"))
        second = await w.wait_for_deployment(app, worse)
        assert second.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "Back-off pulling image web:nopull" in second.status_reason
        assert live() == ("web:1", "web:1", 2)

        routes = [{"provider": {"name": "elsewhere"}}]
        routed = await w.push("Route", files(namespace, "web:2", resourceRoutes=routes))
        third = await w.wait_for_deployment(app, routed)
        assert third.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert "could not be planned: shop/app.pipecd.yaml:" in third.status_reason
        assert "this agent has no KUBERNETES platform provider elsewhere" in third.status_reason


async def test_a_canary_gets_traffic_and_is_cleaned_also_by_a_rollback(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    providers = [
        {"name": "test", "type": "KUBERNETES", "config": {"kubeConfigPath": str(cluster.kubeconfig)}}
    ]
    stages = [
        {"name": "K8S_CANARY_ROLLOUT", "with": {"replicas": "50%"}},
        {"name": "K8S_TRAFFIC_ROUTING", "with": {"all": "canary"}},
        {"name": "ANALYSIS", "with": {"duration": "1s", "metrics": [METRIC]}},
        {"name": "K8S_PRIMARY_ROLLOUT"},
        {"name": "K8S_TRAFFIC_ROUTING", "with": {"all": "primary"}},
        {"name": "K8S_CANARY_CLEAN"},
    ]
    watch = event_watch({"file": "web.yaml", "regex": '"image": "(web:[^"]*)"'})
    spec = {
        "pipeline": {"stages": stages},
        "trafficRouting": {"settle": "100ms"},
        "eventWatcher": [watch],
    }
    slack = Slack(CHANNEL)

    def manifests(image: str) -> dict[str, str | None]:
        body = web(image)
        body["spec"]["progressDeadlineSeconds"] = 2
        text = "---\n".join(json.dumps(manifest) + "\n" for manifest in (body, primary_service()))
        return {**files(namespace, image, **spec), "shop/web.yaml": text}

    def live() -> tuple[list[str], str]:
        found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]
        service = cluster.get(f"/api/v1/namespaces/{namespace}/services/web")
        images = [item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found]
        return images, service["spec"]["selector"]["pipecd.dev/variant"]

    with ReceiverServer(slack) as slack_server:
        async with (
            prometheus_server(tmp_path, {"errors": 1.0}) as prometheus,
            world(tmp_path / "world") as w,
            w.agent(
                platformProviders=providers,
                analysisProviders=[analysis_provider(prometheus)],
                notifications=slack_notifications(tmp_path, slack_server.url),
            ),
        ):
            await w.push("Begin", manifests("web:1"))
            app = await w.register("shop", kind=KUBERNETES, provider="test")
            first = await w.wait_for_deployment(app)
            assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
            await prometheus.wait_for("errors")
            second = await w.wait_for_deployment(app, await w.push("Next", manifests("web:2")))
            assert second.status == DeploymentStatus.DEPLOYMENT_SUCCESS, second.status_reason
            assert second.summary == (
                "Sync with the pipeline, because the image of web changed: web from 1 to 2"
            )
            shown = [stage.metadata.get("canary-percentage", "") for stage in second.stages]
            assert shown[:6] == ["", "100", "", "", "0", ""]
            assert live() == (["web:2"], "primary")
            third = await w.wait_for_deployment(app, await w.push("Worse", manifests("web:nopull")))
            assert third.status == DeploymentStatus.DEPLOYMENT_FAILURE
            assert "Deployment web-canary in" in third.status_reason
            assert live() == (["web:2"], "primary")

            # An event becomes a commit, whose canary starts, but its metric is bad.
            prometheus.values["errors"] = 7.0
            await prometheus.wait_for("errors > 6")
            event = await handled(w, await register(w, "web:3"))
            assert event.status == EventStatus.EVENT_SUCCESS, event.status_description
            assert '"image": "web:3"' in await asyncio.to_thread(pulled, w, "shop/web.yaml")
            fourth = await w.wait_for_deployment(app, w.clone.git("rev-parse", "HEAD"))
            assert fourth.status == DeploymentStatus.DEPLOYMENT_FAILURE
            assert fourth.status_reason.startswith("Stage ANALYSIS failed: metrics-0: 7 is above 2")
            assert [stage.metadata.get("canary-percentage", "") for stage in fourth.stages][1] == "100"
            assert live() == (["web:2"], "primary")
            titles = titles_of_bad_canary("K8S_CANARY_ROLLOUT", "K8S_TRAFFIC_ROUTING")
            running = w.clone.git("log", "-1", "--format=%h", "--abbrev=7", "--grep=^Next$")
            await check_thread(
                slack,
                fourth,
                titles,
                reason="metrics-0: 7 is above 2",
                rolled_back=f"2 objects are at commit {running} again",
            )


async def test_the_live_tree_follows_the_cluster(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    config = {"kubeConfigPath": str(cluster.kubeconfig)}
    providers = [{"name": "test", "type": "KUBERNETES", "config": config}]
    web, settings = (
        f"/apis/apps/v1/namespaces/{namespace}/deployments/web",
        f"/api/v1/namespaces/{namespace}/configmaps/settings",
    )

    def patch(path: str, body: Any) -> None:
        cluster.request(path, body, method="PATCH", content_type="application/strategic-merge-patch+json")

    async with world(tmp_path / "world") as w, w.agent(platformProviders=providers):
        with w.plane.server.services.store.feed.subscribe() as changes:
            await w.push("Begin", files(namespace, "web:1"))
            app = await w.register("shop", kind=KUBERNETES, provider="test")

            async def follow(condition: Callable[[ApplicationLiveStateSnapshot], bool]) -> Any:
                return await follow_live_state(w, app, changes, condition)

            state = await follow(
                lambda state: (
                    kinds(state) == ["ConfigMap", "Deployment", "Pod", "Pod", "ReplicaSet"]
                    and state.health_status == ApplicationLiveStateSnapshot.HEALTHY
                )
            )
            by_id = {resource.id: resource.kind for resource in state.kubernetes.resources}
            parents = {
                resource.kind: [by_id[parent] for parent in resource.parent_ids]
                for resource in state.kubernetes.resources
            }
            assert parents == {
                "ConfigMap": [],
                "Deployment": [],
                "ReplicaSet": ["Deployment"],
                "Pod": ["ReplicaSet"],
            }
            container = {"name": "web", "image": "web:nopull"}
            patch(web, {"spec": {"template": {"spec": {"containers": [container]}}}})

            def cannot_pull(state: ApplicationLiveStateSnapshot) -> bool:
                reasons = [resource.health_description for resource in state.kubernetes.resources]
                return state.health_status == ApplicationLiveStateSnapshot.OTHER and any(
                    "pulling image web:nopull" in reason or "ErrImagePull" in reason for reason in reasons
                )

            await follow(cannot_pull)
            cluster.request(settings, {}, method="DELETE")
            await follow(lambda state: "ConfigMap" not in kinds(state))
            patch(web, {"spec": {"replicas": 0}})
            await follow(
                lambda state: (
                    "Pod" not in kinds(state) and state.health_status == ApplicationLiveStateSnapshot.HEALTHY
                )
            )


def kinds(state: ApplicationLiveStateSnapshot) -> list[str]:
    return sorted(resource.kind for resource in state.kubernetes.resources)


async def follow_live_state(
    w: World,
    application: str,
    changes: asyncio.Queue[Any],
    condition: Callable[[ApplicationLiveStateSnapshot], bool],
) -> ApplicationLiveStateSnapshot:
    """Reads the live state at each change that the control plane announces, until the condition holds."""
    async with asyncio.timeout(60):
        while True:
            change = await changes.get()
            if (change.kind, change.id) == (CHANGE_KIND, application):
                response = await w.console.call("GetApplicationLiveState", application_id=application)
                if condition(response.snapshot):
                    return response.snapshot  # type: ignore[no-any-return]


async def test_the_console_sees_a_pod_and_its_log(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    providers = [
        {"name": "test", "type": "KUBERNETES", "config": {"kubeConfigPath": str(cluster.kubeconfig)}}
    ]
    with running_node(cluster, f"node-{namespace}", tmp_path) as node:
        node.text = "2026-11-27T12:00:01Z listening\n"
        pushed = files(namespace, "web:1")
        body = json.dumps(deployment("web", "web:1", nodeName=node.name))
        async with world(tmp_path / "world") as w, w.agent(platformProviders=providers):
            await w.push("Begin", {**pushed, "shop/web.yaml": body})
            app = await w.register("shop", kind=KUBERNETES, provider="test")
            done = await w.wait_for_deployment(app)
            assert done.status == DeploymentStatus.DEPLOYMENT_SUCCESS, done.status_reason

            async def find_pod() -> str:
                snapshot = (await w.console.call("SeeLiveState", application_id=app)).snapshot
                return next((item.id for item in snapshot.kubernetes.resources if item.kind == "Pod"), "")

            pod = await eventually(find_pod)
            details = await w.console.call("SeeResource", application_id=app, resource_id=pod)
            assert yaml.safe_load(details.live)["metadata"]["uid"] == pod
            assert [container.name for container in details.containers] == ["web"]

            token = w.console.http.cookies["token"]
            async with aio.insecure_channel(w.plane.address) as channel:
                stub = ConsoleServiceStub(channel)
                request = FollowContainerLogRequest(application_id=app, resource_id=pod)
                stream = stub.FollowContainerLog(request, metadata=(("cookie", f"token={token}"),))
                assert await _next_line(stream) == "listening"
                node.following.put("2026-11-27T12:00:02Z GET /\n")
                assert await _next_line(stream) == "GET /"
                stream.cancel()
                async with asyncio.timeout(120):
                    # The node notices when it writes that the reader has left.
                    while node.abandoned.empty():
                        node.following.put("2026-11-27T12:00:03Z GET /\n")
                        await asyncio.to_thread(node.wrote.acquire, timeout=1)


async def _next_line(stream: Any) -> str:
    async with asyncio.timeout(120):
        while not (lines := (await stream.read()).lines):
            pass
    return str(lines[0].text)

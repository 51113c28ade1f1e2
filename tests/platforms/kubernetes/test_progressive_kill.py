"""Invariant 6: traffic never points at something that is gone, also if the agent is killed at any request.

After every change that the agent makes, each variant that gets traffic has a ready pod. Deployments end with
all traffic at the primary variant, and no other is left.
"""

from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Failed, Outcome, Work
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.quickstart.simulated_cluster.gateway import PATH as GATEWAY
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.kubernetes.killer import Killer
from tests.platforms.kubernetes.stage_runner import Shop
from tests.platforms.kubernetes.test_progressive import (
    GATEWAY_SPEC,
    VARIANT,
    deployed,
    image_of,
    names,
    pipeline,
    primary_service,
    route_manifests,
    stage,
    web,
)
from tests.platforms.kubernetes.traffic_kinds import accept_route, define_traffic_kinds

#: The canary works whatever image is in Git.
WORKING = [
    {
        "target": {"kind": "Deployment", "name": "web"},
        "ops": [{"path": "$.spec.template.spec.containers[0].image", "value": "web:2"}],
    }
]


class Watcher:
    """Checks the traffic after every change, and is the controller of the route."""

    def __init__(self, shop: Shop, killer: Killer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop, self.killer = shop, killer
        self.checks, self.seen = 0, set[str]()
        original = ApiClient.send

        async def send(client: ApiClient, method: str, *arguments: Any, **options: Any) -> Any:
            try:
                return await original(client, method, *arguments, **options)
            finally:
                if method != "GET":
                    self.check()

        monkeypatch.setattr(ApiClient, "send", send)

    def check(self) -> None:
        self.checks += 1
        for variant in self.receiving():
            self.seen.add(variant)
            selector = f"app=web,{VARIANT}={variant}"
            pods = self.shop.cluster.get(f"{self.shop.path('pods')}?labelSelector={selector}")["items"]
            ready = [
                pod
                for pod in pods
                if not pod["metadata"].get("deletionTimestamp")
                and {"type": "Ready", "status": "True"}.items()
                <= next((c for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"), {}).items()
            ]
            assert ready, f"traffic goes to {variant}, which has no ready pod"

    def receiving(self) -> list[str]:
        path = f"{GATEWAY}/namespaces/{self.shop.namespace}/httproutes/web"
        if self.shop.spec.get("trafficRouting") and (route := self.shop.cluster.get(path)):
            backends = route["spec"]["rules"][0]["backendRefs"]
            names = [item["name"] for item in backends if item.get("weight", 1)]
            return ["canary" if name.endswith("-canary") else "primary" for name in names]
        return [self.shop.get("services", "web")["spec"]["selector"][VARIANT]]

    async def __call__(self, function: Any, work: Work[Any]) -> Outcome | None:
        outcome: Outcome | None = await self.killer(function, work)
        if self.shop.spec.get("trafficRouting"):
            accept_route(self.shop)
        return outcome


@pytest.mark.parametrize(
    ("by_route", "image", "strategy", "count"),
    [
        pytest.param(False, "web:2", "RollingUpdate", None, id="succeeds"),
        pytest.param(True, "web:2", "RollingUpdate", 2, id="cancelled while traffic is split"),
        pytest.param(True, "web:nopull", "RollingUpdate", None, id="primary rollout fails"),
        pytest.param(False, "web:nopull", "Recreate", None, id="primary rollout fails without any pod left"),
    ],
)
async def test_traffic_never_points_at_something_that_is_gone(
    cluster: Cluster,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_route: bool,
    image: str,
    strategy: str,
    count: int | None,
) -> None:
    shop = Shop(cluster, namespace, tmp_path, StageSettings(call_duration=0.5))
    routing = stage("K8S_TRAFFIC_ROUTING", **({"canary": 30} if by_route else {"all": "canary"}))
    spec = pipeline(
        stage("K8S_CANARY_ROLLOUT", createService=True, patches=WORKING),
        routing,
        stage("K8S_PRIMARY_ROLLOUT"),
        stage("K8S_TRAFFIC_ROUTING", all="primary"),
        stage("K8S_CANARY_CLEAN"),
    )
    if by_route:
        define_traffic_kinds(cluster, GATEWAY)
        shop.spec |= GATEWAY_SPEC

    def manifests(version: str) -> list[Any]:
        body = web(version)
        body["spec"] |= {"strategy": {"type": strategy}, "progressDeadlineSeconds": 2}
        return [body, *(route_manifests(version)[1:] if by_route else [primary_service()])]

    runner = await deployed(shop, *manifests("web:1"), **spec)
    in_git = names(shop)
    if by_route:
        accept_route(shop)
    runner = runner.next_deployment(shop.commit(*manifests(image), **spec))
    # Of pods that cannot start, the cluster reports the end of the deadline only most of the time.
    runner.seconds_per_call = 3.0
    killer = Killer(monkeypatch, seed=len(image) + bool(by_route), times=14)
    watcher = Watcher(shop, killer, monkeypatch)
    outcomes = await runner.run_pipeline(watcher, count=count)
    succeeds = image == "web:2" and count is None
    if succeeds:
        assert_succeeded(outcomes[-1])
    else:
        assert isinstance(outcomes[-1], Failed) == (count is None)
        assert_succeeded(await runner.run("ROLLBACK", killer=watcher))
    assert names(shop) == in_git
    assert image_of(shop, "web") == ("web:2" if succeeds else "web:1")
    assert shop.get("deployments", "web")["status"]["availableReplicas"] == 2
    assert watcher.receiving() == ["primary"]
    assert killer.kills and watcher.checks and watcher.seen == {"primary", "canary"}

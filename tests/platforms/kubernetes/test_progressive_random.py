"""Every method of traffic routing under kills, failures and cancels, on a cluster in memory.

After every change, all traffic goes to variants with ready pods (invariant 6). Whatever happens, a deployment
ends with the primary variant alone and all traffic.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipecd.model.stage import Done, Failed, Outcome, Source, Work
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import clusters
from tests.platforms.aws import stage_runner as aws_stage_runner
from tests.platforms.aws.stage_runner import assert_succeeded, load_source
from tests.platforms.kubernetes import stage_runner
from tests.platforms.kubernetes.memory_cluster import MemoryCluster
from tests.platforms.kubernetes.stage_runner import KubernetesRunner, Shop
from tests.platforms.kubernetes.test_kill import EveryAwait
from tests.platforms.kubernetes.test_progressive import (
    VARIANT,
    istio_manifests,
    pipeline,
    primary_service,
    stage,
    web,
)
from tests.platforms.kubernetes.test_traffic import http_route, ref, traffic_split

METHODS = ("podselector", "istio", "smi", "HTTPRoute", "GRPCRoute")
#: The canary works whatever image is in Git.
WORKING = [
    {
        "target": {"kind": "Deployment", "name": "web"},
        "ops": [{"path": "$.spec.template.spec.containers[0].image", "value": "web:2"}],
    }
]


@cache
def _source(target: Path) -> Source:
    return load_source(platform, target)


def _load_source(_: Any, target: Path) -> Source:
    return _source(target)


class Shops:
    """The commits of an application for each method, and a cluster of its own for each run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._commits: dict[tuple[str, str], Path] = {}

    def commit(self, method: str, image: str) -> Path:
        if (method, image) not in self._commits:
            folder = self._directory / f"{method}-{image.replace(':', '-')}"
            folder.mkdir()
            shop = Shop(SimpleNamespace(kubeconfig=folder), "shop", folder)  # type: ignore[arg-type]
            self._commits[method, image] = shop.commit(*_manifests(method, image), **_spec(method))
        return self._commits[method, image]

    def runner(self, method: str, image: str) -> KubernetesRunner:
        target = self.commit(method, image)
        cluster: Any = SimpleNamespace(kubeconfig=target)
        return Shop(cluster, "shop", target, StageSettings(call_duration=0.0)).runner(target)


def _manifests(method: str, image: str) -> list[Any]:
    match method:
        case "podselector":
            return [web(image), primary_service()]
        case "istio":
            return istio_manifests(image, "primary", "canary", "baseline")
        case "smi":
            return [web(image), primary_service(), traffic_split(("web", 100))]
    return [web(image), primary_service(), http_route({"backendRefs": [ref("web")]}, kind=method)]


def _spec(method: str) -> dict[str, Any]:
    by_selector = method == "podselector"
    split = {"all": "canary"} if by_selector else {"canary": 30, "baseline": 20}
    steps = {"all": "canary"} if by_selector else {"steps": [{"canary": 60}, {"canary": 100}]}
    rollout = {"createService": method not in ("istio", "podselector")}
    return pipeline(
        stage("K8S_BASELINE_ROLLOUT", **rollout),
        stage("K8S_CANARY_ROLLOUT", patches=WORKING, **rollout),
        stage("K8S_TRAFFIC_ROUTING", **split),
        stage("K8S_TRAFFIC_ROUTING", **steps),
        stage("K8S_PRIMARY_ROLLOUT"),
        stage("K8S_TRAFFIC_ROUTING", all="primary"),
        stage("K8S_CANARY_CLEAN"),
        stage("K8S_BASELINE_CLEAN"),
        service={"name": "web"},
        trafficRouting={"method": "gateway" if method.endswith("Route") else method},
    )


STAGES = {method: _spec(method)["pipeline"]["stages"] for method in METHODS}


class Traffic:
    """Where the traffic goes, checked after every change."""

    def __init__(self, cluster: MemoryCluster, method: str) -> None:
        self.cluster, self.method = cluster, method
        self.seen: set[str] = set()
        cluster.check = self.check

    def weights(self) -> Mapping[str, int]:
        """By variant."""
        objects = self.cluster.objects
        match self.method:
            case "podselector":
                return {objects["Service", "shop", "web"]["spec"]["selector"][VARIANT]: 100}
            case "istio":
                routes = objects["VirtualService", "shop", "web"]["spec"]["http"][0]["route"]
                found = {route["destination"]["subset"]: route.get("weight", 100) for route in routes}
                assert sum(found.values()) == 100
                return found
            case "smi":
                backends = objects["TrafficSplit", "shop", "web"]["spec"]["backends"]
                return {self._variant(item["service"]): item["weight"] for item in backends}
        backends = objects[self.method, "shop", "web"]["spec"]["rules"][0]["backendRefs"]
        return {self._variant(item["name"]): item.get("weight", 1) for item in backends}

    def _variant(self, name: str) -> str:
        return name.removeprefix("web").removeprefix("-") or "primary"

    def check(self) -> None:
        if not {kind for kind, *_ in self.cluster.objects} & {self._kind}:
            return
        weights = {name: weight for name, weight in self.weights().items() if weight}
        self.seen |= weights.keys()
        ready = {name for name in weights if self.cluster.ready_pods({"app": "web", VARIANT: name})}
        if self.method not in ("podselector", "istio"):
            for name in weights:
                assert (
                    "Service",
                    "shop",
                    "web" if name == "primary" else f"web-{name}",
                ) in self.cluster.objects
        total = sum(weights.values())
        assert total and sum(weights[name] for name in ready) == total, f"{weights}, ready: {ready}"

    @property
    def _kind(self) -> str:
        return {"podselector": "Service", "istio": "VirtualService", "smi": "TrafficSplit"}.get(
            self.method, self.method
        )


class KillsAt(EveryAwait):
    """Kills the calls of stages at the given awaits; a number beyond the last await kills nothing."""

    def __init__(self, awaits: list[int]) -> None:
        super().__init__()
        self._awaits = awaits

    async def __call__(self, function: Any, work: Work[Any]) -> Outcome | None:
        if not self._awaits:
            outcome: Outcome = await function(work)
            return outcome
        self._next = self._awaits.pop()
        return await super().__call__(function, work)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"))


async def _deployed(
    shops: Shops, method: str, image: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Traffic, KubernetesRunner]:
    """After the first deployment, the runner of the next one."""
    cluster = MemoryCluster()
    # Files are read once, not at every call of a stage.
    for module in (aws_stage_runner, stage_runner):
        monkeypatch.setattr(module, "load_source", _load_source)
    monkeypatch.setattr(clusters, "connect", cluster.connect)
    runner = shops.runner(method, "web:1")
    assert_succeeded(await runner.run("K8S_SYNC"))
    runner = runner.next_deployment(shops.commit(method, image))
    return Traffic(cluster, method), runner


def _assert_primary_alone(traffic: Traffic, image: str) -> None:
    objects = traffic.cluster.objects
    assert {name: weight for name, weight in traffic.weights().items() if weight}.keys() == {"primary"}
    kinds = ("Deployment", "Service", "ConfigMap")
    assert {key for key in objects if key[0] in kinds} == {
        ("Deployment", "shop", "web"),
        ("Service", "shop", "web"),
    }
    live = objects["Deployment", "shop", "web"]
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert live["status"]["availableReplicas"] == 2


@pytest.mark.parametrize("method", METHODS)
async def test_kills_at_every_await_of_every_stage(
    shops: Shops, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image, expected in (("web:2", "web:2"), ("web:nopull", "web:1")):
        traffic, runner = await _deployed(shops, method, image, monkeypatch)
        killer = EveryAwait()
        for configured, written in zip(runner.pipeline, STAGES[method], strict=True):
            options = written.get("with", {})
            outcome = await runner.run(
                configured.name, stage_id=configured.id, killer=killer, limit=5000, **options
            )
            if isinstance(outcome, Failed):
                break
        if image != expected:
            assert isinstance(outcome, Failed)
            outcome = await runner.run("ROLLBACK", killer=killer, limit=5000)
        assert isinstance(outcome, Done), outcome
        _assert_primary_alone(traffic, expected)
        assert killer.kills > 100
        assert traffic.seen == {"primary", "canary"} | ({"baseline"} if method != "podselector" else set())


@given(
    method=st.sampled_from(METHODS),
    image=st.sampled_from(["web:2", "web:nopull"]),
    stages=st.integers(0, 8),
    calls=st.integers(1, 12),
    awaits=st.lists(st.integers(1, 60), max_size=12),
)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_deployment_ends_with_the_primary_variant_alone(
    shops: Shops,
    method: str,
    image: str,
    stages: int,
    calls: int,
    awaits: list[int],
) -> None:
    """It is cancelled in the call `calls` of the stage `stages`, unless it has ended before."""

    async def deploy(monkeypatch: pytest.MonkeyPatch) -> None:
        traffic, runner = await _deployed(shops, method, image, monkeypatch)
        killer = KillsAt(awaits)
        outcome: Outcome | None = None
        for index, configured in enumerate(runner.pipeline[: stages + 1]):
            options = STAGES[method][index].get("with", {})
            limits = {"calls": calls} if index == stages else {}
            outcome = await _run(runner, configured, killer, options, limits)
            if not isinstance(outcome, Done):
                break
        else:
            if stages >= len(runner.pipeline) - 1:
                _assert_primary_alone(traffic, "web:2")
                return
        assert_succeeded(await runner.run("ROLLBACK", killer=killer))
        _assert_primary_alone(traffic, "web:1")

    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(deploy(monkeypatch))


async def _run(
    runner: KubernetesRunner, configured: Any, killer: Any, options: Any, limits: Any
) -> Outcome | None:
    """None if all calls until the cancel were killed."""
    try:
        return await runner.run(configured.name, stage_id=configured.id, killer=killer, **limits, **options)
    except AssertionError:
        if not limits:
            raise
        return None

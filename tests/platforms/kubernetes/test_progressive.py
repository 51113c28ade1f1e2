"""Pipelines with a canary, a baseline and traffic routing, on a real cluster."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.kubernetes.config import AppStateInformer
from pipecd.quickstart.simulated_cluster.gateway import PATH as GATEWAY
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import (
    KubernetesRunner,
    Shop,
    config_map,
    deployment,
    service,
)
from tests.platforms.kubernetes.test_drift import drift, limited_provider
from tests.platforms.kubernetes.test_traffic import http_route, ref, to, virtual_service
from tests.platforms.kubernetes.traffic_kinds import ISTIO, accept_route, define_traffic_kinds

VARIANT = "pipecd.dev/variant"


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path)


def stage(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **({"with": options} if options else {})}


def pipeline(*stages: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {"pipeline": {"stages": list(stages)}, **spec}


def web(image: str, *, replicas: int = 2, **pod: Any) -> dict[str, Any]:
    """A Deployment with the label of the primary variant."""
    body = deployment("web", image, replicas=replicas, **pod)
    body["spec"]["selector"]["matchLabels"] = {"app": "web", VARIANT: "primary"}
    body["spec"]["template"]["metadata"]["labels"] = {"app": "web", VARIANT: "primary"}
    return body


def primary_service() -> dict[str, Any]:
    return service("web", **{VARIANT: "primary"})


def image_of(shop: Shop, name: str) -> str | None:
    live = shop.get("deployments", name)
    return live["spec"]["template"]["spec"]["containers"][0]["image"] if live else None


def names(shop: Shop) -> set[str]:
    """All objects of the application in its namespace."""
    selector = f"?labelSelector=pipecd.dev/application={shop.application}"
    return {
        f"{kind}/{item['metadata']['name']}"
        for kind in ("deployments", "services", "configmaps", "secrets")
        for item in shop.cluster.get(shop.path(kind) + selector)["items"]
    }


async def deployed(shop: Shop, *manifests: Any, **spec: Any) -> KubernetesRunner:
    """After the first deployment, a quick sync. Its route is accepted."""
    runner = shop.runner(shop.commit(*manifests, **spec))
    assert_succeeded(await runner.run("K8S_SYNC"))
    return runner


BY_SELECTOR = (
    stage("K8S_CANARY_ROLLOUT", replicas="50%"),
    stage("K8S_TRAFFIC_ROUTING", all="canary"),
    stage("K8S_PRIMARY_ROLLOUT"),
    stage("K8S_TRAFFIC_ROUTING", all="primary"),
    stage("K8S_CANARY_CLEAN"),
)


async def test_a_canary_by_the_selector_of_its_service(shop: Shop) -> None:
    def manifests(image: str, text: str) -> list[Any]:
        pod = {"volumes": [{"name": "a", "configMap": {"name": "settings"}}]}
        return [web(image, replicas=3, **pod), primary_service(), config_map("settings", {"a": text})]

    runner = await deployed(shop, *manifests("web:1", "old"), **pipeline(*BY_SELECTOR))
    in_git = {"deployments/web", "services/web", "configmaps/settings"}
    assert names(shop) == in_git
    # The primary variant was scaled by hand: a percentage counts what runs.
    shop.patch("deployments", "web", {"spec": {"replicas": 4}}, manager="hpa")
    runner = runner.next_deployment(shop.commit(*manifests("web:2", "new"), **pipeline(*BY_SELECTOR)))
    (rollout,) = await runner.run_pipeline(count=1)
    assert_succeeded(rollout)
    keys = [
        f"v1:ConfigMap:{shop.namespace}:settings-canary",
        f"apps/v1:Deployment:{shop.namespace}:web-canary",
    ]
    assert runner.shared["canary-resources"] == ",".join(keys)
    canary = shop.get("deployments", "web-canary")
    assert (canary["spec"]["replicas"], canary["status"]["availableReplicas"]) == (2, 2)
    assert canary["metadata"]["annotations"][VARIANT] == "canary"
    assert canary["metadata"]["annotations"]["pipecd.dev/resource-key"] == keys[1]
    volumes = canary["spec"]["template"]["spec"]["volumes"]
    assert volumes == [{"name": "a", "configMap": {"name": "settings-canary", "defaultMode": 420}}]
    assert image_of(shop, "web-canary") == "web:2" and image_of(shop, "web") == "web:1"
    assert shop.get("configmaps", "settings-canary")["data"] == {"a": "new"}

    await runner.run_pipeline(count=3)
    assert image_of(shop, "web") == "web:2"
    # The rollout of the primary variant leaves the traffic where it is.
    assert shop.get("services", "web")["spec"]["selector"] == {"app": "web", VARIANT: "canary"}
    assert runner.saved["stage-1"]["canary-percentage"] == "100"
    canary = runner.saved["stage-0"]
    assert canary["canary-replicas"] == canary["canary-ready-replicas"] != "0"

    waited = runner.waited
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    assert shop.get("services", "web")["spec"]["selector"] == {"app": "web", VARIANT: "primary"}
    assert runner.saved["stage-3"]["primary-percentage"] == "100"
    assert names(shop) == in_git
    assert runner.waited - waited >= 10
    assert (await drift(shop, runner.target)).details == ""


async def test_a_canary_that_is_left_is_named_and_deleted_by_a_sync_with_prune(shop: Shop) -> None:
    spec = pipeline(stage("K8S_CANARY_ROLLOUT"))
    runner = await deployed(shop, web("web:1"), config_map("a"), **spec)
    in_git = names(shop)
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    found = await drift(shop, runner.target)
    assert found.in_sync and found.summary.endswith("; a canary or baseline of a former deployment is left")
    assert f"Deployment web-canary in {shop.namespace}" in found.details and "CLEAN stage" in found.details
    target = shop.commit(web("web:1"), config_map("a"), quickSync={"prune": True}, **spec)
    assert_succeeded(await runner.next_deployment(target).run("K8S_SYNC"))
    shop.wait_until(lambda: names(shop) == in_git)


@pytest.mark.parametrize("count", range(1, 5))
async def test_a_rollback_after_any_stage_leaves_the_primary_variant_alone(shop: Shop, count: int) -> None:
    runner = await deployed(shop, web("web:1"), primary_service(), config_map("a"), **pipeline(*BY_SELECTOR))
    target = shop.commit(web("web:2"), primary_service(), config_map("a"), **pipeline(*BY_SELECTOR))
    runner = runner.next_deployment(target)
    for outcome in await runner.run_pipeline(count=count):
        assert_succeeded(outcome)
    assert_succeeded(await runner.run("ROLLBACK"))
    assert names(shop) == {"deployments/web", "services/web", "configmaps/a"}
    assert image_of(shop, "web") == "web:1"
    assert shop.get("deployments", "web")["status"]["availableReplicas"] == 2
    assert shop.get("services", "web")["spec"]["selector"][VARIANT] == "primary"
    assert runner.running is not None and (await drift(shop, runner.running)).details == ""


async def test_traffic_stays_where_it_is_until_pods_are_ready(shop: Shop) -> None:
    shop.settings = replace(shop.settings, serving_timeout=10.0)
    stages = (*BY_SELECTOR[:2], BY_SELECTOR[-1])
    spec = pipeline(*stages, input={"waitForReady": False})
    runner = await deployed(shop, web("web:1"), primary_service(), **spec)
    runner = runner.next_deployment(shop.commit(web("web:nopull"), primary_service(), **spec))
    rollout, routing = await runner.run_pipeline(count=2)
    assert_succeeded(rollout)
    message = failure_text(routing)
    assert (
        "the canary gets no traffic: no pod with the labels app: web, pipecd.dev/variant: canary" in message
    )
    assert 10 <= runner.waited <= 15
    assert shop.get("services", "web")["spec"]["selector"][VARIANT] == "primary"


async def test_cleaning_takes_the_traffic_away_first(shop: Shop) -> None:
    """Also if the pipeline forgets it."""
    spec = pipeline(*BY_SELECTOR[:2], BY_SELECTOR[-1])
    runner = await deployed(shop, web("web:1"), primary_service(), **spec)
    runner = runner.next_deployment(shop.commit(web("web:2"), primary_service(), **spec))
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    assert shop.get("services", "web")["spec"]["selector"][VARIANT] == "primary"
    assert names(shop) == {"deployments/web", "services/web"}
    assert runner.waited >= 10


async def test_a_baseline_runs_the_version_of_the_primary_variant(shop: Shop) -> None:
    rollouts = [
        stage(f"K8S_{name}_ROLLOUT", replicas=1, createService=True, suffix=name.lower()[:4])
        for name in ("CANARY", "BASELINE")
    ]
    spec = pipeline(*rollouts, stage("K8S_BASELINE_CLEAN"), stage("K8S_CANARY_CLEAN"))
    runner = await deployed(shop, web("web:1"), primary_service(), config_map("a"), **spec)
    runner = runner.next_deployment(shop.commit(web("web:2"), primary_service(), config_map("a"), **spec))
    for outcome in await runner.run_pipeline(count=2):
        assert_succeeded(outcome)
    in_git = {"deployments/web", "services/web", "configmaps/a"}
    canary = {"deployments/web-cana", "services/web-cana", "configmaps/a-cana"}
    assert names(shop) == in_git | canary | {"deployments/web-base", "services/web-base"}
    assert image_of(shop, "web-base") == "web:1" and image_of(shop, "web-cana") == "web:2"
    live = shop.get("deployments", "web-base")["metadata"]["annotations"]
    assert (live["pipecd.dev/commit-hash"], live[VARIANT]) == ("commit-0000001", "baseline")
    assert shop.get("services", "web-base")["spec"]["selector"] == {"app": "web", VARIANT: "baseline"}
    for outcome in await runner.run_pipeline(count=3):
        assert_succeeded(outcome)
    assert names(shop) == in_git | canary
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    assert names(shop) == in_git


async def test_a_canary_of_a_first_deployment_is_deleted_unless_it_serves(shop: Shop) -> None:
    """There is nothing to go back to, which the rollback says."""
    spec = pipeline(*BY_SELECTOR[:2])
    runner = shop.runner(shop.commit(web("web:1"), primary_service(), **spec))
    assert_succeeded((await runner.run_pipeline(count=1))[0])
    assert "nothing was deployed before" in failure_text(await runner.run("ROLLBACK"))
    assert names(shop) == set()
    serving = replace(runner, shared={}, saved={}, id="deployment-3")
    for outcome in await serving.run_pipeline():
        assert_succeeded(outcome)
    assert "nothing was deployed before" in failure_text(await serving.run("ROLLBACK"))
    assert names(shop) == {"deployments/web-canary", "services/web"}


async def test_patches_change_the_canary_alone(shop: Shop) -> None:
    patches = [
        {
            "target": {"kind": "ConfigMap", "name": "a", "documentRoot": "$.data.'app.yaml'"},
            "ops": [{"path": "$.level", "value": "debug"}],
        }
    ]
    spec = pipeline(stage("K8S_CANARY_ROLLOUT", patches=patches), stage("K8S_CANARY_CLEAN"))
    settings = config_map("a", {"app.yaml": "level: info # or debug\n"})
    runner = shop.runner(shop.commit(web("web:1"), settings, **spec))
    # A role for the application's kinds in its namespace is enough.
    provider = limited_provider(shop, runner.target, ["get", "list", "create", "patch", "delete"])
    runner.provider = provider.model_copy(update={"app_state_informer": AppStateInformer()})
    for outcome in await runner.run_pipeline(count=1):
        assert_succeeded(outcome)
    assert shop.get("configmaps", "a-canary")["data"] == {"app.yaml": 'level: "debug" # or debug\n'}
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    assert names(shop) == set()


async def test_the_primary_variants_service_belongs_to_the_application(shop: Shop) -> None:
    """It is not in Git, and neither pruned by later deployments nor taken for drift."""
    spec = pipeline(stage("K8S_PRIMARY_ROLLOUT", createService=True, prune=True), quickSync={"prune": True})
    runner = await deployed(shop, web("web:1"), service("web"), config_map("old"), **spec)
    leftover = config_map("leftover")
    runner = runner.next_deployment(shop.commit(web("web:2"), service("web"), **spec))
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    expected = {"deployments/web", "services/web", "services/web-primary"}
    assert names(shop) == expected
    assert (await drift(shop, runner.target)).details == ""
    assert shop.get("services", "web-primary")["spec"]["selector"] == {"app": "web", VARIANT: "primary"}
    runner = runner.next_deployment(shop.commit(web("web:2"), service("web"), leftover, **spec))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert names(shop) == expected | {"configmaps/leftover"}


# Gateway API.

GATEWAY_SPEC = {"service": {"name": "web"}, "trafficRouting": {"method": "gateway"}}


class Gateways:
    """A controller that accepts routes between the calls of a stage."""

    def __init__(self, shop: Shop, *, resolved: bool = True) -> None:
        self.shop, self.resolved = shop, resolved
        #: What the route said after each call, without repetitions.
        self.weights: list[list[tuple[str, int]]] = []

    async def __call__(self, function: Any, work: Work[Any]) -> Outcome | None:
        outcome: Outcome = await function(work)
        route = self.shop.cluster.get(f"{GATEWAY}/namespaces/{self.shop.namespace}/httproutes/web")
        seen = [(item["name"], item.get("weight", 1)) for item in route["spec"]["rules"][0]["backendRefs"]]
        if self.weights[-1:] != [seen]:
            self.weights.append(seen)
        accept_route(self.shop, resolved=self.resolved)
        return outcome


def route_manifests(image: str) -> list[Any]:
    return [web(image), primary_service(), http_route({"backendRefs": [ref("web")]})]


async def test_a_route_shifts_traffic_in_steps(shop: Shop) -> None:
    define_traffic_kinds(shop.cluster, GATEWAY)
    steps = [{"canary": 10, "for": "2m"}, {"canary": 50, "for": "5m"}]
    spec = pipeline(
        stage("K8S_CANARY_ROLLOUT", createService=True),
        stage("K8S_TRAFFIC_ROUTING", steps=steps),
        stage("K8S_PRIMARY_ROLLOUT"),
        stage("K8S_TRAFFIC_ROUTING", all="primary"),
        stage("K8S_CANARY_CLEAN"),
        **GATEWAY_SPEC,
    )
    runner = await deployed(shop, *route_manifests("web:1"), **spec)
    accept_route(shop)
    runner = runner.next_deployment(shop.commit(*route_manifests("web:2"), **spec))
    gateways = Gateways(shop)
    for outcome in await runner.run_pipeline(gateways):
        assert_succeeded(outcome)
    assert gateways.weights == [
        [("web", 1)],
        [("web", 90), ("web-canary", 10)],
        [("web", 50), ("web-canary", 50)],
        [("web", 1)],
    ]
    assert 430 <= runner.waited <= 440
    assert runner.saved["stage-1"]["canary-percentage"] == "50"
    assert names(shop) == {"deployments/web", "services/web"}


async def test_a_route_that_no_gateway_accepts_fails_and_is_rolled_back(shop: Shop) -> None:
    define_traffic_kinds(shop.cluster, GATEWAY)
    shop.settings = replace(shop.settings, accepted_timeout=10.0)
    spec = pipeline(
        stage("K8S_CANARY_ROLLOUT", createService=True),
        stage("K8S_TRAFFIC_ROUTING", canary=20),
        stage("K8S_CANARY_CLEAN"),
        **GATEWAY_SPEC,
    )
    runner = await deployed(shop, *route_manifests("web:1"), **spec)
    runner = runner.next_deployment(shop.commit(*route_manifests("web:2"), **spec))
    broken = Gateways(shop, resolved=False)
    outcomes = await runner.run_pipeline(broken)
    assert "is not effective: the Gateway gw: BackendNotFound" in failure_text(outcomes[-1])
    # As long as the Gateway may send traffic to the canary, it stays.
    message = failure_text(await runner.run("ROLLBACK", killer=broken))
    assert "HTTPRoute web in" in message and "is not effective" in message
    assert image_of(shop, "web-canary") == "web:2"
    assert broken.weights[-1] == [("web", 1)]
    runner.saved.pop("ROLLBACK")
    assert_succeeded(await runner.run("ROLLBACK", killer=Gateways(shop)))
    assert names(shop) == {"deployments/web", "services/web"}


# Istio.


def istio_manifests(image: str, *subsets: str) -> list[Any]:
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web"},
        "spec": {
            "host": "web",
            "subsets": [{"name": name, "labels": {VARIANT: name}} for name in subsets],
        },
    }
    return [web(image), service("web"), rule, virtual_service({"route": [to("web", subset="primary")]})]


async def test_weights_of_a_virtual_service(shop: Shop) -> None:
    define_traffic_kinds(shop.cluster, ISTIO)
    spec = pipeline(
        stage("K8S_CANARY_ROLLOUT"),
        stage("K8S_TRAFFIC_ROUTING", canary=20, canaryMatch={"headers": {"x-canary": "yes"}}),
        # No routing stage follows: the primary variant gets the traffic when it works.
        stage("K8S_PRIMARY_ROLLOUT"),
        stage("K8S_CANARY_CLEAN"),
        trafficRouting={"method": "istio", "istio": {"host": f"web.{shop.namespace}.svc.cluster.local"}},
    )
    runner = await deployed(shop, *istio_manifests("web:1", "primary"), **spec)
    broken = runner.next_deployment(shop.commit(*istio_manifests("web:2", "primary"), **spec))
    outcomes = await broken.run_pipeline()
    assert "no DestinationRule of the host defines the subset canary" in failure_text(outcomes[-1])
    assert isinstance(await broken.run("ROLLBACK"), Done)
    assert names(shop) == {"deployments/web", "services/web"}

    manifests = istio_manifests("web:2", "primary", "canary")
    runner = runner.next_deployment(shop.commit(*manifests, **spec))
    for outcome in await runner.run_pipeline(count=2):
        assert_succeeded(outcome)
    path = f"{ISTIO}/namespaces/{shop.namespace}/virtualservices/web"
    testers, others = shop.cluster.get(path)["spec"]["http"]
    assert testers["name"] == "pipecd-canary" and testers["route"] == [to("web", 100, "canary")]
    assert others["route"] == [to("web", 80, "primary"), to("web", 20, "canary")]
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    assert shop.cluster.get(path)["spec"]["http"] == [{"route": [to("web", subset="primary")]}]
    assert names(shop) == {"deployments/web", "services/web"}


# What does not fit together is refused before anything is changed.


@pytest.mark.parametrize(
    ("manifests", "spec", "message"),
    [
        ([web("web:1")], {}, "no Service that routes its traffic"),
        ([web("web:1"), service("web")], {}, "Service web selects the pods of all variants"),
        (
            [deployment("web"), primary_service()],
            {},
            "Deployment web: the selector and the pod template lack",
        ),
        (
            [web("web:1"), primary_service(), virtual_service({"route": [to("web")]})],
            {"trafficRouting": {"method": "istio", "istio": {"host": "web"}}},
            "Service web selects the pods of one variant",
        ),
    ],
)
async def test_manifests_that_cannot_be_routed_are_refused_first(
    shop: Shop, manifests: Any, spec: Any, message: str
) -> None:
    runner = shop.runner(shop.commit(*manifests, **pipeline(*BY_SELECTOR, **spec)))
    (outcome,) = await runner.run_pipeline()
    assert message in failure_text(outcome)
    assert names(shop) == set()

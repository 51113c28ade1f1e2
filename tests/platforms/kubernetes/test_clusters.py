"""Applications on two clusters: routes of objects, waves, pruning, drift, preview and rollback.

The second cluster is shared by the tests that need one. Only `test_outages` stops its API server.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.drift import Drift
from pipecd.model.stage import Failed
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.drift import detect_drift
from pipecd.platforms.kubernetes.settings import StageSettings
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.conftest import create_namespace
from tests.platforms.kubernetes.stage_runner import Shop, config_map, deployment, hook, provider_of
from tests.platforms.kubernetes.test_progressive import image_of, primary_service, web
from tests.platforms.make_preview import make_preview

PRUNE: dict[str, Any] = {"quickSync": {"prune": True}}
EAST = {"provider": {"name": "east"}, "match": {"kind": "Deployment"}}
BOTH = {"provider": {"labels": {"all": "yes"}}}


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    """`west` is the application's own cluster."""
    shop = Shop(cluster, namespace, tmp_path)
    shop.others = {"west": provider_of(cluster)}
    return shop


@pytest.fixture
def east(shop: Shop, other_cluster: Cluster, tmp_path: Path) -> Shop:
    """The same application on the other cluster."""
    create_namespace(other_cluster, shop.namespace)
    shop.others["east"] = provider_of(other_cluster)
    return Shop(other_cluster, shop.namespace, tmp_path)


async def drift(shop: Shop, commit: Path) -> Drift:
    runner = shop.runner(commit)
    request = await observation_request(platform, runner.provider, commit)
    application = replace(request.application, id=shop.application)
    return await detect_drift(replace(request, application=application, providers=runner.find))


async def test_each_object_is_applied_to_its_cluster_and_pruned_where_it_was(shop: Shop, east: Shop) -> None:
    files = (deployment("web"), config_map("a"), config_map("b", {"x": "1"}))
    first = shop.commit(*files, resourceRoutes=[EAST, {**BOTH, "match": {"name": "b"}}])
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert east.get("deployments", "web")["status"]["availableReplicas"] == 1
    assert shop.get("deployments", "web") is None
    assert (shop.get("configmaps", "a") is None, east.get("configmaps", "a") is None) == (False, True)
    assert shop.get("configmaps", "b") and east.get("configmaps", "b")
    assert "[east] Applied 2 objects" in runner.log.lines
    assert (await drift(shop, first)).in_sync

    east.patch("configmaps", "b", {"data": {"x": "2"}}, manager="kubectl-edit")
    shop.cluster.request(shop.path("configmaps", "a"), method="DELETE")
    found = await drift(shop, first)
    assert f"ConfigMap a in {shop.namespace} (the agent's cluster): not running" in found.details
    assert f"# ConfigMap b in {shop.namespace} (east)" in found.details

    # Without routes, what the other cluster had is deleted there.
    second = runner.next_deployment(shop.commit(*files, **PRUNE))
    assert_succeeded(await second.run("K8S_SYNC"))
    assert shop.get("deployments", "web") and shop.get("configmaps", "a")
    assert east.get("deployments", "web") is None and east.get("configmaps", "b") is None
    third = second.next_deployment(shop.commit(config_map("a"), **PRUNE))
    assert_succeeded(await third.run("K8S_SYNC"))
    assert not any(line.startswith("[east]") for line in third.log.lines), "it is not asked again"


async def test_two_names_of_one_cluster_prune_nothing_of_each_other(shop: Shop) -> None:
    files = (config_map("a"), config_map("b"))
    routes = [{"provider": {"name": "west"}, "match": {"name": "b"}}]
    first = shop.commit(*files, resourceRoutes=routes, **PRUNE)
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert_succeeded(await runner.next_deployment(first).run("K8S_SYNC"))
    assert shop.get("configmaps", "a") and shop.get("configmaps", "b")
    assert (await drift(shop, first)).in_sync


async def test_a_wave_begins_when_the_one_before_works_in_all_clusters(shop: Shop, east: Shop) -> None:
    late = config_map("late", order="1")
    failing = deployment("web", "web:nopull", deadline=1)
    runner = shop.runner(shop.commit(failing, late, resourceRoutes=[EAST]))
    message = failure_text(await runner.run("K8S_SYNC"))
    assert message.startswith(f"east: Deployment web in {shop.namespace} does not work")
    assert shop.get("configmaps", "late") is None


async def test_a_rollback_is_successful_only_if_it_is_in_every_cluster(shop: Shop, east: Shop) -> None:
    routes: dict[str, Any] = {"resourceRoutes": [BOTH]}
    first = shop.commit(config_map("a", {"x": "1"}), config_map("b", {"x": "1"}), **routes)
    before = shop.runner(first)
    assert_succeeded(await before.run("K8S_SYNC"))
    runner = before.next_deployment(shop.commit(config_map("a", {"x": "2"}), config_map("b"), **routes))
    assert_succeeded(await runner.run("K8S_SYNC"))
    # In the first cluster, another application has taken the object over.
    owner = {"metadata": {"annotations": {"pipecd.dev/application": "other"}}}
    shop.patch("configmaps", "a", owner)
    outcome = await runner.run("ROLLBACK")
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith("west: ") and "belongs to the application other" in outcome.reason
    assert east.get("configmaps", "a")["data"] == {"x": "1"}, "the others are rolled back"
    assert shop.get("configmaps", "b")["data"] == {"x": "1"}


async def test_a_rollback_deletes_what_the_failed_commit_moved_to_another_cluster(
    shop: Shop, east: Shop
) -> None:
    before = shop.runner(shop.commit(config_map("a"), config_map("b")))
    assert_succeeded(await before.run("K8S_SYNC"))
    moved = {"provider": {"name": "east"}, "match": {"name": "a"}}
    runner = before.next_deployment(
        shop.commit(config_map("a"), config_map("b", {"x": "2"}), resourceRoutes=[moved])
    )
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert east.get("configmaps", "a") and east.get("configmaps", "b") is None
    assert_succeeded(await runner.run("ROLLBACK"))
    assert east.get("configmaps", "a") is None
    assert shop.get("configmaps", "a") and shop.get("configmaps", "b").get("data") != {"x": "2"}


async def test_a_preview_names_the_cluster_that_would_refuse(shop: Shop, east: Shop) -> None:
    head = shop.commit({**config_map("a"), "dat": {}}, resourceRoutes=[BOTH])
    runner = shop.runner(head)
    away = provider_of(east.cluster).model_copy(update={"master_url": "https://127.0.0.1:1"})
    runner.others = {**runner.others, "east": away}
    preview = await make_preview(platform, head, None, provider=runner.provider, providers=runner.find)
    assert preview.error.count("\n- ") == 1 and "ConfigMap a" in preview.error and "(west): " in preview.error
    assert "cannot be reached or used (east): " in preview.details


async def test_what_a_call_stores_is_that_of_its_cluster(shop: Shop, east: Shop) -> None:
    shop.settings = StageSettings(call_duration=0.0)
    target = shop.commit(deployment("web"), config_map("a", order="1"), resourceRoutes=[BOTH], **PRUNE)
    runner = shop.runner(target)
    assert_succeeded(await runner.run("K8S_SYNC"))
    saved = runner.saved["K8S_SYNC"]
    assert [saved.get(f"pipecd/applied{of}") for of in ("@west", "@east", "")] == ["2", "2", None]


async def test_a_canary_on_two_clusters(shop: Shop, east: Shop) -> None:
    """Traffic moves when the canary works in both, and a rollback ends when both are back."""
    stages = [
        {"name": "K8S_MULTI_CANARY_ROLLOUT"},
        {"name": "K8S_MULTI_TRAFFIC_ROUTING", "with": {"all": "canary"}},
        {"name": "K8S_MULTI_PRIMARY_ROLLOUT"},
        {"name": "K8S_MULTI_TRAFFIC_ROUTING", "with": {"all": "primary"}},
        {"name": "K8S_MULTI_CANARY_CLEAN"},
    ]
    spec: dict[str, Any] = {"pipeline": {"stages": stages}, "resourceRoutes": [BOTH]}

    def selected() -> list[str]:
        services = [side.get("services", "web") for side in (shop, east)]
        return [live["spec"]["selector"]["pipecd.dev/variant"] for live in services]

    runner = shop.runner(shop.commit(web("web:1"), primary_service(), **spec))
    assert_succeeded(await runner.run("K8S_SYNC"))
    runner = runner.next_deployment(shop.commit(web("web:2"), primary_service(), **spec))
    for outcome in await runner.run_pipeline(count=2):
        assert_succeeded(outcome)
    assert selected() == ["canary", "canary"]
    assert_succeeded(await runner.run("ROLLBACK"))
    assert selected() == ["primary", "primary"]
    assert [side.get("deployments", "web-canary") for side in (shop, east)] == [None, None]
    again = replace(runner, shared={}, saved={}, id="deployment-7")
    for outcome in await again.run_pipeline():
        assert_succeeded(outcome)
    assert selected() == ["primary", "primary"]
    assert [side.get("deployments", "web-canary") for side in (shop, east)] == [None, None]
    images = [
        side.get("deployments", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
        for side in (shop, east)
    ]
    assert images == ["web:2", "web:2"]


#: All objects are applied to both clusters.
TARGETS: dict[str, Any] = {
    "input": {"multiTargets": [{"target": {"name": "west"}}, {"target": {"name": "east"}}]}
}


def variant_of_traffic(side: Shop) -> str:
    return str(side.get("services", "web")["spec"]["selector"]["pipecd.dev/variant"])


async def test_a_stage_is_limited_to_its_targets(shop: Shop, east: Shop) -> None:
    """A rollback is about all of them."""
    only_east = {"with": {"multiTargets": ["east"]}}
    stages = [
        {"name": "K8S_MULTI_CANARY_ROLLOUT", **only_east},
        {"name": "K8S_MULTI_TRAFFIC_ROUTING", "with": {"all": "canary", **only_east["with"]}},
        {"name": "K8S_MULTI_PRIMARY_ROLLOUT", "with": {"prune": True, **only_east["with"]}},
        {"name": "K8S_MULTI_TRAFFIC_ROUTING", "with": {"all": "primary", **only_east["with"]}},
        {"name": "K8S_MULTI_CANARY_CLEAN", **only_east},
        {"name": "K8S_MULTI_PRIMARY_ROLLOUT", "with": {"prune": True}},
    ]
    spec: dict[str, Any] = {**TARGETS, "pipeline": {"stages": stages}}
    first = (web("web:1"), primary_service(), config_map("old"))
    runner = shop.runner(shop.commit(*first, **spec))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert shop.get("configmaps", "old") and east.get("configmaps", "old")

    runner = runner.next_deployment(shop.commit(web("web:2"), primary_service(), **spec))
    for outcome in await runner.run_pipeline(count=2):
        assert_succeeded(outcome)
    assert (variant_of_traffic(shop), variant_of_traffic(east)) == ("primary", "canary")
    assert shop.get("deployments", "web-canary") is None and east.get("deployments", "web-canary")
    assert_succeeded(await runner.run("ROLLBACK"))
    assert variant_of_traffic(east) == "primary" and east.get("deployments", "web-canary") is None

    again = replace(runner, shared={}, saved={}, id="deployment-7")
    for outcome in await again.run_pipeline(count=5):
        assert_succeeded(outcome)
    sides = (shop, east)
    assert [bool(side.get("configmaps", "old")) for side in sides] == [True, False]
    assert [image_of(side, "web") for side in sides] == ["web:1", "web:2"]
    assert_succeeded(await again.run("K8S_MULTI_PRIMARY_ROLLOUT", stage_id="stage-5", prune=True))
    assert [bool(side.get("configmaps", "old")) for side in sides] == [False, False]
    assert [image_of(side, "web") for side in sides] == ["web:2", "web:2"]


async def test_a_target_that_is_no_cluster_of_the_application_is_named(shop: Shop, east: Shop) -> None:
    runner = shop.runner(shop.commit(config_map("a"), **TARGETS))
    message = failure_text(await runner.run("K8S_SYNC", multiTargets=["north"]))
    assert "the stage is limited to north, and the application's clusters are east, west" in message
    unknown: dict[str, Any] = {"input": {"multiTargets": [{"target": {"name": "north"}}]}}
    assert "no KUBERNETES platform provider north" in failure_text(
        await shop.runner(shop.commit(config_map("a"), **unknown)).run("K8S_SYNC")
    )


async def test_hooks_run_in_each_cluster_and_those_of_a_failure_too(shop: Shop, east: Shop) -> None:
    hooks: dict[str, Any] = {"input": {"hooks": True, **TARGETS["input"]}}
    migrate, report = hook("migrate", "PreSync"), hook("report", "SyncFail")
    broken = deployment("web", "web:nopull", deadline=1)
    runner = shop.runner(shop.commit(broken, migrate, report, **hooks))
    assert "Deployment web" in failure_text(await runner.run("K8S_SYNC"))
    for side in (shop, east):
        names = sorted(live["metadata"]["name"].rpartition("-")[0] for live in side.list("jobs"))
        assert names == ["migrate", "report"]

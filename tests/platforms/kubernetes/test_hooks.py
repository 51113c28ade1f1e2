"""Hooks of a deployment: which run when, by annotations; and, on a real cluster, that each runs once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import Done, Failed
from pipecd.platforms.kubernetes import hooks, platform
from pipecd.platforms.kubernetes.config import Input
from pipecd.platforms.kubernetes.hooks import Ended, Moment, Policy
from pipecd.platforms.kubernetes.manifest import Manifest, ManifestReader
from pipecd.platforms.kubernetes.settings import StageSettings
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.killer import Killer
from tests.platforms.kubernetes.stage_runner import ARGO, HELM, HOOKS, Shop, config_map, deployment, hook
from tests.platforms.kubernetes.test_clusters import drift
from tests.platforms.make_preview import make_preview


@pytest.mark.parametrize(
    ("moment", "first", "names"),
    [
        ("PreSync", True, ["early", "argo", "install", "late"]),
        ("PreSync", False, ["argo", "upgrade"]),
        ("PostSync", False, ["after"]),
        ("SyncFail", False, ["failed"]),
        ("pre-rollback", False, ["undo"]),
        ("post-rollback", False, []),
    ],
)
def test_which_hooks_run_in_which_order(moment: str, first: bool, names: list[str]) -> None:
    declared = [
        hook("late", "pre-install", hook_weight="5"),
        hook("argo", "PreSync"),
        hook("install", "pre-install"),
        hook("early", "pre-install", hook_weight="-5"),
        hook("upgrade", "pre-upgrade"),
        hook("after", "PostSync"),
        hook("failed", "SyncFail"),
        hook("undo", "pre-rollback"),
        hook("skipped", "Skip"),
        hook("deleted", "post-delete"),
    ]
    found = hooks.hooks_at([Manifest(body) for body in declared], Moment(moment), first=first)
    assert [manifest.name for manifest in found] == names


def test_hooks_are_split_from_objects_only_if_enabled() -> None:
    own = Manifest({**config_map("own", hook="PreSync")})
    others = [Manifest(hook("argo", "PreSync")), Manifest(hook("helm", "pre-install,pre-upgrade"))]
    plain = [Manifest(config_map("a")), Manifest(hook("crd", "crd-install"))]
    assert hooks.split([*plain, own, *others], enabled=True) == (plain, [own, *others])
    assert hooks.split([*plain, own, *others], enabled=False) == ([*plain, *others], [own])
    assert hooks.never_run(Manifest(hook("a", "Skip"))) == ["Skip"]
    assert Input().hooks is False, "as in PipeCD"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({f"{ARGO}hook-delete-policy": "HookSucceeded, HookFailed"}, {Policy.SUCCEEDED, Policy.FAILED}),
        (
            {f"{HELM}hook-delete-policy": "before-hook-creation,hook-succeeded"},
            {Policy.BEFORE_CREATION, Policy.SUCCEEDED},
        ),
        (
            {"pipecd.dev/hook-delete-policy": "HookFailed", f"{ARGO}hook-delete-policy": "HookSucceeded"},
            {Policy.FAILED},
        ),
        ({f"{HELM}hook-delete-policy": "never"}, set()),
        ({}, set()),
    ],
)
def test_delete_policies(annotations: Mapping[str, str], expected: set[Policy]) -> None:
    assert (
        hooks.policies(Manifest({**config_map("a"), "metadata": {"name": "a", "annotations": annotations}}))
        == expected
    )


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ({"kind": "Job"}, None),
        ({"kind": "Job", "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, Ended()),
        ({"kind": "Job", "status": {"conditions": [{"type": "Complete", "status": "False"}]}}, None),
        (
            {"kind": "Job", "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "No"}]}},
            Ended("No"),
        ),
        ({"kind": "Job", "status": {"conditions": "x"}}, None),
        ({"kind": "Pod", "status": {"phase": "Running"}}, None),
        ({"kind": "Pod", "status": {"phase": "Succeeded"}}, Ended()),
        ({"kind": "Workflow", "status": {"phase": "Error", "message": "x" * 9999}}, Ended("x" * 500)),
    ],
)  # fmt: skip
def test_how_a_hook_ended(live: Any, expected: Ended | None) -> None:
    assert hooks.end_of(live) == expected


def test_each_stage_runs_an_object_of_its_own() -> None:
    declared = hook("a" * 100, "PreSync")
    declared["spec"]["ttlSecondsAfterFinished"] = 0
    first, second = (
        hooks.Run(application="app", deployment="d", commit="c", piped="p", id=run).instance(
            Manifest(declared)
        )
        for run in ("1", "2")
    )
    assert len(first.name) == 63 and first.name != second.name
    assert first.spec["ttlSecondsAfterFinished"] == 600
    assert "pipecd.dev/application" not in {**first.labels, **first.annotations}


def test_a_hook_may_have_a_generated_name() -> None:
    body = hook("x", "PreSync")
    body["metadata"] = {"generateName": "migrate-", "annotations": body["metadata"]["annotations"]}
    reader = ManifestReader(runs_hooks=True)
    reader.read(json.dumps(body), "a.yaml")
    assert [manifest.name for manifest in reader.manifests] == ["migrate"]


# On a real cluster


@pytest.fixture
def shop(cluster: Cluster, namespace: str, tmp_path: Path) -> Shop:
    return Shop(cluster, namespace, tmp_path, StageSettings(call_duration=0.5))


def jobs(shop: Shop) -> dict[str, Any]:
    """By the name of the hook."""
    return {live["metadata"]["name"].rpartition("-")[0]: live for live in shop.list("jobs")}


async def test_hooks_run_once_in_their_order_also_if_the_agent_is_killed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [
        config_map("a"),
        hook("migrate", "PreSync"),
        config_map("settings", hook="PreSync", order="-1"),
        hook("between", "Sync", sync_wave="1"),
        hook("check", "PostSync", hook_delete_policy="HookSucceeded"),
        hook("failed", "SyncFail"),
        config_map("b", order="2"),
    ]
    commit = shop.commit(*manifests, **HOOKS, quickSync={"prune": True})
    runner, killer = shop.runner(commit), Killer(monkeypatch, seed=5, times=8)
    assert_succeeded(await runner.run("K8S_SYNC", killer=killer))
    assert killer.kills
    lines = [line for line in runner.log.lines if "has succeeded" in line]
    order = [line.split(" (")[0].removeprefix("The hook Job ") for line in lines]
    assert list(dict.fromkeys(order)) == ["migrate", "between", "check"]
    found = jobs(shop)
    assert found.keys() == {"migrate", "between"}, "one of each; check is deleted after its success"
    created = [
        shop.get("configmaps", name)["metadata"]["creationTimestamp"] for name in ("settings", "a", "b")
    ]
    assert created == sorted(created)
    assert (await drift(shop, commit)).in_sync

    # The next deployment runs them again, prunes nothing of them, and deletes what the former one has run.
    again = runner.next_deployment(commit)
    assert_succeeded(await again.run("K8S_SYNC"))
    former = {live["metadata"]["uid"] for live in found.values()}
    shop.wait_until(lambda: len(shop.list("jobs")) == 2)
    assert not former & {live["metadata"]["uid"] for live in jobs(shop).values()}
    assert shop.get("configmaps", "settings")


async def test_a_failed_hook_fails_the_stage_and_those_of_a_failure_run(shop: Shop) -> None:
    first = shop.commit(config_map("a"), **HOOKS)
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    failing = hook("migrate", "PreSync", "tool:fail", hook_delete_policy="HookFailed")
    commit = shop.commit(config_map("a", {"x": "1"}), failing, hook("report", "SyncFail"), **HOOKS)
    runner = runner.next_deployment(commit)
    message = failure_text(await runner.run("K8S_SYNC"))
    assert message.startswith("the hook Job migrate (PreSync) failed: BackoffLimitExceeded")
    assert jobs(shop).keys() == {"report"}, "the failed one is deleted by its policy"
    assert shop.get("configmaps", "a").get("data") is None, "nothing is applied before"
    uid = jobs(shop)["report"]["metadata"]["uid"]
    assert isinstance(await runner.run("ROLLBACK"), Done)
    assert jobs(shop)["report"]["metadata"]["uid"] == uid, "it does not run again in the rollback"


async def test_the_rollback_of_another_failure_runs_the_hooks_of_a_failure(shop: Shop) -> None:
    first = shop.commit(config_map("a"), hook("undo", "pre-rollback"), **HOOKS)
    runner = shop.runner(first)
    assert_succeeded(await runner.run("K8S_SYNC"))
    # That a hook of a failure fails does not stop the rollback.
    report = hook("report", "SyncFail", "tool:fail")
    runner = runner.next_deployment(shop.commit(config_map("a", {"x": "1"}), report, **HOOKS))
    assert_succeeded(await runner.run("K8S_SYNC"))
    assert_succeeded(await runner.run("ROLLBACK"))
    assert jobs(shop).keys() == {"report", "undo"}
    assert shop.get("configmaps", "a").get("data") is None


async def test_a_hook_that_is_deleted_while_it_runs_or_cancelled(shop: Shop) -> None:
    slow = hook("slow", "PreSync", "tool:pending")
    runner = shop.runner(shop.commit(config_map("a"), slow, **HOOKS))
    await runner.run("K8S_SYNC", until=lambda: bool(shop.list("jobs")))
    [live] = shop.list("jobs")
    await runner.stop("K8S_SYNC")
    shop.wait_until(lambda: not shop.list("jobs"))
    outcome = await runner.run("K8S_SYNC")
    assert isinstance(outcome, Failed) and "was deleted by another program before it ended" in outcome.reason
    assert live["metadata"]["labels"]["pipecd.dev/hook-of"] == shop.application


async def test_a_hook_of_a_rollback_is_ended_by_its_cancel(shop: Shop) -> None:
    slow = hook("undo", "pre-rollback", "tool:pending")
    runner = shop.runner(shop.commit(config_map("a"), slow, **HOOKS))
    assert_succeeded(await runner.run("K8S_SYNC"))
    runner = runner.next_deployment(shop.commit(config_map("a", {"x": "1"})))
    await runner.run("K8S_SYNC")
    await runner.run("ROLLBACK", until=lambda: bool(shop.list("jobs")))
    assert len(shop.list("jobs")) == 1
    await runner.stop("ROLLBACK")
    shop.wait_until(lambda: not shop.list("jobs"))


async def test_a_preview_names_hooks_and_says_which_are_not_run(shop: Shop) -> None:
    manifests = (config_map("a"), hook("migrate", "PreSync"))
    for enabled, expected in (
        (True, "a hook, which the sync runs: Job migrate (PreSync)"),
        (False, "Hooks of Argo CD are applied like other objects: Job migrate (PreSync); set input.hooks"),
    ):
        head = shop.commit(*manifests, input={"hooks": enabled})
        preview = await make_preview(
            platform, head, None, provider=shop.provider, providers=shop.runner(head).find
        )
        assert preview.details.count(expected) == 1


async def test_a_pipeline_runs_hooks_before_the_canary_and_not_again(shop: Shop) -> None:
    stages = [{"name": "K8S_CANARY_ROLLOUT"}, {"name": "K8S_PRIMARY_ROLLOUT"}, {"name": "K8S_CANARY_CLEAN"}]
    spec: dict[str, Any] = {**HOOKS, "pipeline": {"stages": stages}}
    commit = shop.commit(deployment("web"), hook("migrate", "PreSync"), hook("check", "PostSync"), **spec)
    runner = shop.runner(commit)
    for outcome in await runner.run_pipeline():
        assert_succeeded(outcome)
    log = [line for line in runner.log.lines if "has succeeded" in line]
    assert log == [
        "The hook Job migrate (PreSync) has succeeded",
        "The hook Job check (PostSync) has succeeded",
    ]
    assert runner.log.lines.index(log[0]) < runner.log.lines.index("Applied 1 objects")

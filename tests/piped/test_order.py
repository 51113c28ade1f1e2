"""The order of deployments, discovery of applications, and unsupported settings."""

from dataclasses import replace

import pytest

from pipecd.model.deployment import Deployment
from pipecd.model.queue import next_deployment
from pipecd.model.status import DeploymentStatus
from pipecd.piped.trigger.discovery import matches_selector, wire_path
from tests.model.samples import deployment


def pending_deployment(
    name: str, committed_at: int, triggered_at: int, status: DeploymentStatus = DeploymentStatus.PENDING
) -> Deployment:
    sample = deployment()
    commit = replace(sample.trigger.commit, created_at=committed_at)
    trigger = replace(sample.trigger, commit=commit, timestamp=triggered_at)
    return replace(sample, id=name, trigger=trigger, status=status)


def at(commit: str, deployment: Deployment) -> Deployment:
    changed = replace(deployment.trigger.commit, hash=commit)
    return replace(deployment, trigger=replace(deployment.trigger, commit=changed))


ORDERS = {
    "the older commit": ([pending_deployment("new", 2, 1), pending_deployment("old", 1, 2)], "old"),
    "the earlier trigger": ([pending_deployment("second", 1, 2), pending_deployment("first", 1, 1)], "first"),
    "the running deployment": (
        [pending_deployment("old", 1, 1), pending_deployment("new", 2, 2, DeploymentStatus.RUNNING)],
        "new",
    ),
    "the earlier block of a chain": (
        [
            replace(pending_deployment("later", 1, 1), chain_id="chain", chain_block=2),
            replace(pending_deployment("earlier", 2, 2), chain_id="chain", chain_block=1),
        ],
        "earlier",
    ),
    "another one of the same commit, if it waits for its chain": (
        [pending_deployment("passed", 1, 1), pending_deployment("next", 1, 2)],
        "next",
    ),
    "none of a newer commit, if it waits for its chain": (
        [pending_deployment("passed", 1, 1), at("newer", pending_deployment("new", 2, 2))],
        "passed",
    ),
    "nothing": ([], None),
}


@pytest.mark.parametrize("case", ORDERS.values(), ids=ORDERS.keys())
def test_next_deployment_is(case: tuple[list[Deployment], str | None]) -> None:
    waiting, expected = case
    foreign = replace(pending_deployment("foreign", 0, 0), application_id="other")
    chosen = next_deployment("a", [foreign, *waiting], {"passed"})
    assert (chosen.id if chosen else None) == expected


def test_selector_requires_all_of_its_labels() -> None:
    assert matches_selector({"env": "dev", "team": "x"}, {"env": "dev"})
    assert not matches_selector({"team": "x"}, {"env": "dev"})
    assert matches_selector({}, {})


@pytest.mark.parametrize(("directory", "path"), [(".", "./"), ("a", "./a"), ("shop", "shop"), ("a/b", "a/b")])
def test_reported_path_has_at_least_two_characters(directory: str, path: str) -> None:
    assert wire_path(directory) == path

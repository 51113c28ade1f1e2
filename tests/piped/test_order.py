"""Which deployment comes next, which applications are suggested and renamed, and what is not served."""

from dataclasses import replace

import pytest

from pipecd.config.piped import PipedSpec
from pipecd.model.deployment import Deployment
from pipecd.model.status import DeploymentStatus
from pipecd.piped.deploy.workers import next_of
from pipecd.piped.trigger.discovery import selected, wire_path
from pipecd.piped.unsupported_config import unserved
from tests.model.samples import deployment


def made(
    name: str, committed: int, asked: int, status: DeploymentStatus = DeploymentStatus.PENDING
) -> Deployment:
    one = deployment()
    commit = replace(one.trigger.commit, created_at=committed)
    trigger = replace(one.trigger, commit=commit, timestamp=asked)
    return replace(one, id=name, trigger=trigger, status=status)


ORDERS = {
    "the older commit": ([made("new", 2, 1), made("old", 1, 2)], "old"),
    "who asked first": ([made("second", 1, 2), made("first", 1, 1)], "first"),
    "what is at work already": ([made("old", 1, 1), made("new", 2, 2, DeploymentStatus.RUNNING)], "new"),
    "nothing": ([], None),
}


@pytest.mark.parametrize("case", ORDERS.values(), ids=ORDERS.keys())
def test_next_comes(case: tuple[list[Deployment], str | None]) -> None:
    waiting, wanted = case
    foreign = replace(made("foreign", 0, 0), application_id="other")
    found = next_of("a", [foreign, *waiting])
    assert (found.id if found else None) == wanted


def test_a_selector_wants_all_of_its_labels() -> None:
    assert selected({"env": "dev", "team": "x"}, {"env": "dev"})
    assert not selected({"team": "x"}, {"env": "dev"})
    assert selected({}, {})


@pytest.mark.parametrize(("directory", "path"), [(".", "./"), ("a", "./a"), ("shop", "shop"), ("a/b", "a/b")])
def test_the_wire_wants_two_characters(directory: str, path: str) -> None:
    assert wire_path(directory) == path


def test_what_is_configured_and_not_served_is_said() -> None:
    spec = {"projectId": "p", "pipedId": "i", "pipedKeyData": "eA==", "apiAddress": "a:1"}
    assert not list(unserved(PipedSpec.model_validate(spec)))
    routes = {"notifications": {"routes": [{"name": "all", "receiver": "x"}]}}
    told = unserved(PipedSpec.model_validate({**spec, **routes}))
    assert [key for key, _ in told] == ["spec.notifications"]

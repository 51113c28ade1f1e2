"""What one ended deployment says about the delivery of its application."""

from dataclasses import replace
from typing import Any

import pytest

from pipecd.model.delivery import UNDONE_WITHIN, Delivery, Ended, History, measure
from pipecd.model.status import DeploymentStatus

NOW = 1_000_000
#: Deployed: a commit of NOW - 5000, which succeeded at NOW - 4000.
DEPLOYED = History(commit_at=NOW - 5000, succeeded_at=NOW - 4000)


def ended(status: str = "SUCCESS", **fields: Any) -> Ended:
    values = {"changed": True, "rolled_back": False, "completed_at": NOW, "commit_at": NOW - 100, **fields}
    return Ended(status=DeploymentStatus[status], **values)


@pytest.mark.parametrize(
    ("history", "deployment", "lead"),
    [
        pytest.param(DEPLOYED, ended(), 100, id="a newer commit"),
        pytest.param(DEPLOYED, ended(source_at=NOW - 900), 900, id="a commit of an event, from its source"),
        pytest.param(
            replace(DEPLOYED, waiting_since=NOW - 700),
            ended(),
            700,
            id="after an undeployed commit",
        ),
        pytest.param(DEPLOYED, ended(commit_at=NOW - 5000), None, id="the same commit again"),
        pytest.param(DEPLOYED, ended(commit_at=NOW - 6000), None, id="an older commit"),
        pytest.param(History(), ended(), None, id="the first deployment of an application"),
        pytest.param(DEPLOYED, ended("FAILURE"), None, id="a failure"),
        pytest.param(DEPLOYED, ended(commit_at=NOW + 50), 0, id="a clock that is ahead"),
    ],
)
def test_lead_time_runs_from_the_first_undeployed_commit(
    history: History, deployment: Ended, lead: int | None
) -> None:
    assert measure(history, deployment).lead == lead


@pytest.mark.parametrize(
    ("deployment", "failed"),
    [
        (ended("SUCCESS"), False),
        (ended("FAILURE"), True),
        (ended("FAILURE", changed=False), False),
        (ended("CANCELLED"), False),
        (ended("CANCELLED", rolled_back=True), True),
    ],
)
def test_a_change_fails_if_it_changed_something_and_failed_or_was_rolled_back(
    deployment: Ended, failed: bool
) -> None:
    assert deployment.failed is failed
    assert measure(DEPLOYED, deployment).history.failing_since == (NOW if failed else 0)


def test_time_to_restore_runs_from_the_first_failure_to_the_next_success() -> None:
    history = DEPLOYED
    for status, at in (("FAILURE", NOW - 3000), ("FAILURE", NOW - 2000), ("CANCELLED", NOW - 1000)):
        history = measure(history, ended(status, completed_at=at, commit_at=at - 10)).history
    delivery = measure(history, ended(commit_at=NOW - 50))
    assert delivery == Delivery(
        history=History(commit_at=NOW - 50, succeeded_at=NOW), lead=3010, restore=3000, undone_at=None
    )


@pytest.mark.parametrize(
    ("deployment", "undone"),
    [
        pytest.param(ended(commit_at=NOW - 6000), True, id="an older commit"),
        pytest.param(ended(commit_message='Revert "Add a cart"'), True, id="a revert"),
        pytest.param(ended(commit_message="revert: cart"), True, id="a conventional revert"),
        pytest.param(ended(commit_message="Reverting polynomials"), False, id="another word"),
        pytest.param(ended(commit_message="Fix the cart"), False, id="a fix may be of an older fault"),
        pytest.param(
            ended(commit_at=NOW - 6000, completed_at=NOW - 4000 + UNDONE_WITHIN + 1), False, id="too late"
        ),
    ],
)
def test_a_success_that_is_taken_back_within_a_day_is_a_failed_change(
    deployment: Ended, undone: bool
) -> None:
    delivery = measure(DEPLOYED, deployment)
    assert delivery.undone_at == (DEPLOYED.succeeded_at if undone else None)
    assert delivery.restore == (4000 if undone else None)


def test_taking_a_failed_change_back_does_not_count_it_twice() -> None:
    failed = measure(DEPLOYED, ended("FAILURE", completed_at=NOW - 500)).history
    assert measure(failed, ended(commit_message='Revert "Add a cart"')).undone_at is None

"""Notification events: PipeCD's names and groups, and keys that are stable under repetition."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest

from pipecd.model.deployment import Deployment
from pipecd.model.notification import (
    EVENT_TYPES,
    ApplicationSynced,
    ApprovalRequested,
    DeploymentStarted,
    DeploymentTriggerFailed,
    NotificationEvent,
    PipedStarted,
    PipedStopped,
    StageFailed,
    StageStarted,
)
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.piped.notify.changes import deployment_events
from pipecd.schema.model.notification_pb2 import NotificationEventGroup, NotificationEventType
from tests.model.samples import application, commit, deployment, stage

WIRE_GROUPS = {1: "DEPLOYMENT", 2: "APPLICATION_SYNC", 3: "APPLICATION_HEALTH", 4: "PIPED", 5: "STAGE"}


def test_every_event_of_the_wire_exists_in_its_group() -> None:
    """The hundreds of an event's number are the number of its group, less one."""
    names = {number: name for name, number in NotificationEventType.items()}
    assert {f"EVENT_{name}" for name in WIRE_GROUPS.values()} == set(NotificationEventGroup.keys()[1:])
    for number, name in names.items():
        event_type = EVENT_TYPES[name.removeprefix("EVENT_")]
        assert event_type.group.value == WIRE_GROUPS[number // 100 + 1]
    wire_names = {name.removeprefix("EVENT_") for name in names.values()}
    assert EVENT_TYPES.keys() - wire_names == {"APPLICATION_UNHEALTHY"}


def test_events_are_frozen() -> None:
    event = DeploymentStarted(at=1, deployment=deployment())
    with pytest.raises(FrozenInstanceError):
        event.at = 2  # type: ignore[misc]


def piped_event(event_type: type[PipedStarted] | type[PipedStopped], instance: str) -> NotificationEvent:
    return event_type(at=1, piped_id="p", piped_name="main", project_id="j", version="1", instance=instance)


def trigger_failed(reason: str, at: int = 1) -> NotificationEvent:
    return DeploymentTriggerFailed(at=at, application=application(), commit=commit(), reason=reason)


KEYS: dict[str, tuple[NotificationEvent, str]] = {
    "a deployment": (DeploymentStarted(at=1, deployment=deployment()), "d/DEPLOYMENT_STARTED"),
    "an approval": (
        ApprovalRequested(at=1, deployment=deployment(), stage=stage(), approvers=()),
        "d/s/DEPLOYMENT_WAIT_APPROVAL",
    ),
    "a stage": (StageFailed(at=1, deployment=deployment(), stage=stage()), "d/s/STAGE_FAILED"),
    "an agent": (piped_event(PipedStarted, "i"), "p/i/PIPED_STARTED"),
    "an application": (
        ApplicationSynced(at=7, application=application(), summary="In sync", reason="In sync"),
        "a/7/APPLICATION_SYNCED",
    ),
}


@pytest.mark.parametrize("case", KEYS.values(), ids=KEYS.keys())
def test_the_key_names_the_occurrence_and_the_kind(case: tuple[NotificationEvent, str]) -> None:
    event, key = case
    assert event.key == key


def test_the_same_failure_to_trigger_has_one_key_whenever_it_is_reported() -> None:
    assert trigger_failed("no file", at=1).key == trigger_failed("no file", at=99).key
    assert trigger_failed("no file").key != trigger_failed("no kind").key
    without_head = DeploymentTriggerFailed(at=1, application=application(), commit=None, reason="no file")
    assert without_head.key != trigger_failed("no file").key
    assert without_head.key.endswith("/DEPLOYMENT_TRIGGER_FAILED")


PLANNED = replace(deployment(), status=DeploymentStatus.PLANNED, stages=(stage(), stage(id="t")))
RUNNING = replace(PLANNED, status=DeploymentStatus.RUNNING)


def with_stage(status: StageStatus) -> Callable[[Deployment], Deployment]:
    return lambda old: old.with_stage(stage(status=status))


def with_status(status: DeploymentStatus) -> Callable[[Deployment], Deployment]:
    return lambda old: replace(old, status=status, reason="because")


CHANGES: dict[str, tuple[Deployment, Callable[[Deployment], Deployment], list[str]]] = {
    "planned": (deployment(), lambda old: PLANNED, ["d/DEPLOYMENT_PLANNED"]),
    "planning failed": (deployment(), with_status(DeploymentStatus.FAILURE), ["d/DEPLOYMENT_FAILED"]),
    "started": (PLANNED, with_status(DeploymentStatus.RUNNING), ["d/DEPLOYMENT_STARTED"]),
    "stage started": (RUNNING, with_stage(StageStatus.RUNNING), ["d/s/STAGE_STARTED"]),
    "stage succeeded": (RUNNING, with_stage(StageStatus.SUCCESS), ["d/s/STAGE_SUCCEEDED"]),
    "stage exited": (RUNNING, with_stage(StageStatus.EXITED), ["d/s/STAGE_SUCCEEDED"]),
    "stage failed": (RUNNING, with_stage(StageStatus.FAILURE), ["d/s/STAGE_FAILED"]),
    "stage cancelled": (RUNNING, with_stage(StageStatus.CANCELLED), ["d/s/STAGE_CANCELLED"]),
    "stage skipped": (RUNNING, with_stage(StageStatus.SKIPPED), ["d/s/STAGE_SKIPPED"]),
    "rolling back": (RUNNING, with_status(DeploymentStatus.ROLLING_BACK), ["d/DEPLOYMENT_ROLLING_BACK"]),
    "succeeded": (RUNNING, with_status(DeploymentStatus.SUCCESS), ["d/DEPLOYMENT_SUCCEEDED"]),
    "failed": (RUNNING, with_status(DeploymentStatus.FAILURE), ["d/DEPLOYMENT_FAILED"]),
    "cancelled": (RUNNING, with_status(DeploymentStatus.CANCELLED), ["d/DEPLOYMENT_CANCELLED"]),
    "metadata only": (RUNNING, lambda old: replace(old, shared={"a": "b"}), []),
    "an unchanged stage": (RUNNING, lambda old: old.with_stage(stage(reason="waiting")), []),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_a_deployment_is_these_events(
    case: tuple[Deployment, Callable[[Deployment], Deployment], list[str]],
) -> None:
    old, change, keys = case
    events = list(deployment_events(old, change(old), commander="ada", at=5))
    assert [event.key for event in events] == keys
    assert all(event.at == 5 for event in events)


def test_a_stage_event_has_the_new_status_of_the_stage() -> None:
    new = RUNNING.with_stage(stage(status=StageStatus.RUNNING, reason="working"))
    (event,) = deployment_events(RUNNING, new, commander="", at=5)
    assert isinstance(event, StageStarted)
    assert (event.stage.status, event.stage.reason) == (StageStatus.RUNNING, "working")

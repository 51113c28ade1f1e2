"""Events of an agent change the stored live state, its health and its version."""

from collections.abc import Sequence
from typing import Any

import pytest

from pipecd.controlplane.records import live_state
from pipecd.schema.model.live_state_pb2 import (
    ApplicationLiveStateSnapshot,
    ApplicationLiveStateVersion,
    KubernetesApplicationLiveState,
    KubernetesResourceState,
    KubernetesResourceStateEvent,
)

UNKNOWN, HEALTHY, OTHER = 0, 1, 2


def snapshot(*health: int, status: Any = UNKNOWN) -> ApplicationLiveStateSnapshot:
    return ApplicationLiveStateSnapshot(
        application_id="shop",
        health_status=status,
        version=ApplicationLiveStateVersion(timestamp=100, index=5),
        kubernetes=KubernetesApplicationLiveState(
            resources=[state(str(number), value) for number, value in enumerate(health)]
        ),
    )


def state(uid: str, health: Any = HEALTHY) -> KubernetesResourceState:
    return KubernetesResourceState(id=uid, name=uid, kind="Pod", api_version="v1", health_status=health)


def event(uid: str, health: Any = HEALTHY, *, version: tuple[int, int] = (101, 0), **fields: Any) -> Any:
    return KubernetesResourceStateEvent(
        id=f"event-{uid}",
        application_id="shop",
        state=state(uid, health),
        snapshot_version=ApplicationLiveStateVersion(timestamp=version[0], index=version[1]),
        **fields,
    )


def deleted(uid: str) -> Any:
    return event(uid, type=KubernetesResourceStateEvent.DELETED)


def apply_events(
    before: ApplicationLiveStateSnapshot, events: Sequence[Any], *, max_resources: int = 100
) -> tuple[bool, Sequence[str]]:
    return live_state.apply_events(before, events, max_resources=max_resources)


@pytest.mark.parametrize(
    ("before", "events", "expected"),
    [
        (snapshot(HEALTHY, status=HEALTHY), [event("0", OTHER)], OTHER),
        (snapshot(HEALTHY, OTHER, status=OTHER), [event("1", HEALTHY)], HEALTHY),
        (snapshot(HEALTHY, OTHER, status=OTHER), [deleted("1")], HEALTHY),
        (snapshot(HEALTHY, status=HEALTHY), [event("0", UNKNOWN)], UNKNOWN),
        (snapshot(HEALTHY, status=HEALTHY), [deleted("0")], UNKNOWN),
        (snapshot(HEALTHY, status=HEALTHY), [event("new", OTHER), deleted("new")], HEALTHY),
        # PipeCD's agent: kinds without a rule are unknown, and do not count.
        (snapshot(HEALTHY, UNKNOWN, status=HEALTHY), [event("2", HEALTHY)], HEALTHY),
        (snapshot(HEALTHY, UNKNOWN, status=HEALTHY), [event("0", OTHER)], OTHER),
        # Ours: they are in progress.
        (snapshot(HEALTHY, UNKNOWN, status=UNKNOWN), [event("2", HEALTHY)], UNKNOWN),
    ],
)
def test_events_change_the_health_of_the_application(before: Any, events: Any, expected: int) -> None:
    changed, refused = apply_events(before, events)
    assert (changed, list(refused), before.health_status) == (True, [], expected)


def test_events_that_the_state_contains_are_ignored() -> None:
    before = snapshot(HEALTHY, status=HEALTHY)
    old = [event("0", OTHER, version=(99, 9)), event("0", OTHER, version=(100, 4))]
    assert apply_events(before, old) == (False, [])
    assert before == snapshot(HEALTHY, status=HEALTHY)
    # In one call too.
    newer_and_older = [event("0", OTHER, version=(102, 1)), event("0", HEALTHY, version=(102, 0))]
    assert apply_events(before, newer_and_older) == (True, [])
    assert (before.version.timestamp, before.version.index) == (102, 1)
    assert before.health_status == OTHER


def test_an_event_that_is_repeated_changes_nothing() -> None:
    before = snapshot(HEALTHY)
    assert apply_events(before, [event("0", OTHER)]) == (True, [])
    assert apply_events(before, [event("0", OTHER)]) == (False, [])
    assert apply_events(before, [deleted("unknown")]) == (False, [])


def test_too_many_resources_are_refused() -> None:
    before = snapshot(HEALTHY, HEALTHY)
    events = [event("new"), event("0", OTHER), deleted("1"), event("newer")]
    assert apply_events(before, events, max_resources=2) == (True, ["event-new"])
    assert [resource.id for resource in before.kubernetes.resources] == ["0", "newer"]

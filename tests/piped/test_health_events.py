"""A change of an application's health is notified, with the resources that are unhealthy."""

import pytest

from pipecd.model.notification import ApplicationBecameHealthy, ApplicationBecameUnhealthy
from pipecd.model.resource import Health, Resource
from pipecd.piped.observe.live_state import MAX_UNHEALTHY_SHOWN, health_event
from tests.model.samples import application

HEALTHY, UNHEALTHY, UNKNOWN = Health.HEALTHY, Health.UNHEALTHY, Health.UNKNOWN


def resources(*healths: Health) -> list[Resource]:
    return [
        Resource(
            id=str(number),
            kind="Task",
            name=f"web-{number}",
            health=health,
            health_reason="exit code 1" if health is UNHEALTHY else "",
        )
        for number, health in enumerate(healths)
    ]


CASES: dict[str, tuple[Health, list[Resource], type | None]] = {
    "still healthy": (HEALTHY, resources(HEALTHY, HEALTHY), None),
    "one resource fails": (HEALTHY, resources(HEALTHY, UNHEALTHY), ApplicationBecameUnhealthy),
    "still unhealthy": (UNHEALTHY, resources(HEALTHY, UNHEALTHY), None),
    "a resource is starting": (UNHEALTHY, resources(HEALTHY, UNKNOWN), None),
    "all recovered": (UNHEALTHY, resources(HEALTHY, HEALTHY), ApplicationBecameHealthy),
    "nothing runs": (HEALTHY, [], None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_change_of_health_is_an_event(case: tuple[Health, list[Resource], type | None]) -> None:
    previous, observed, expected = case
    event = health_event(application(), observed, previous=previous, at=7)
    assert (type(event) if event else None) is expected
    assert event is None or event.key.startswith("a/7/APPLICATION_")


def test_the_reason_names_unhealthy_resources_up_to_a_limit() -> None:
    event = health_event(application(), resources(HEALTHY, UNHEALTHY), previous=HEALTHY, at=7)
    assert event is not None
    assert (event.summary, event.reason) == ("Unhealthy resources: 1 of 2", "Task web-1: exit code 1")
    many = health_event(application(), resources(*[UNHEALTHY] * 500), previous=HEALTHY, at=7)
    assert many is not None
    lines = many.reason.split("\n")
    assert (len(lines), lines[-1]) == (MAX_UNHEALTHY_SHOWN + 1, "and 480 more")

"""When drift that comes back is no longer corrected, in virtual time."""

from dataclasses import replace

import pytest

from pipecd.model.application import Application, DeploymentReference
from pipecd.model.drift import Drift
from pipecd.piped.self_healing import SelfHealing
from tests.model.samples import deployment
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock

SHOP = application(deployment())


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def healing(clock: VirtualClock) -> SelfHealing:
    return SelfHealing(clock)


def after(number: int, commit: str = "a") -> Application:
    """The application after its deployment with this number."""
    return replace(SHOP, last_triggered=DeploymentReference(deployment_id=f"d{number}", commit=commit))


def drift(fields: str = "replicas", *changed_by: str) -> Drift:
    return Drift(summary="Differs", fingerprint=fields, changed_by=changed_by)


async def test_correcting_stops_when_the_same_drift_appears_a_third_time(
    clock: VirtualClock, healing: SelfHealing
) -> None:
    for number in (1, 2):
        for _ in range(5):
            assert healing.record_drift(after(number), drift()) == "", "seen again without a deployment"
            await clock.advance(10)
        healing.record_in_sync(after(number))
    message = healing.record_drift(after(3), drift("replicas", "kubectl-edit", "script"))
    assert message == (
        "Not corrected any more: it came back 3 times within 10 minutes, changed by kubectl-edit, script"
    )
    await clock.advance(86400)
    assert healing.stop_reason(SHOP.id) == message
    assert healing.record_drift(after(3), drift("replicas", "kubectl-edit", "script")) == message


async def test_drift_that_comes_back_slowly_is_corrected_each_time(
    clock: VirtualClock, healing: SelfHealing
) -> None:
    for number in range(20):
        assert healing.record_drift(after(number), drift()) == ""
        await clock.advance(301)


def stop(healing: SelfHealing) -> None:
    for number in (1, 2, 3):
        healing.record_drift(after(number), drift())
    assert healing.stop_reason(SHOP.id)


def test_correcting_starts_again(healing: SelfHealing) -> None:
    stop(healing)
    healing.record_in_sync(SHOP)
    assert healing.stop_reason(SHOP.id) == ""
    assert healing.record_drift(after(4), drift()) == "", "counted from the beginning"

    healing.reset(SHOP.id)
    stop(healing)
    assert healing.record_drift(after(4), drift("image")) == "", "other fields differ"
    assert healing.record_drift(after(4), drift()), "the fields that came back"
    assert healing.record_drift(after(5, commit="b"), drift()) == "", "a new commit"

    healing.reset(SHOP.id)
    stop(healing)
    healing.reset(SHOP.id)
    assert healing.stop_reason(SHOP.id) == "", "a user requested a sync"

    stop(healing)
    healing.prune(())
    assert healing.stop_reason(SHOP.id) == ""


def test_many_different_drifts_need_little_memory(healing: SelfHealing) -> None:
    for number in range(1000):
        assert healing.record_drift(after(number), drift(str(number))) == ""
    assert len(healing._histories[SHOP.id].drifts) == 20

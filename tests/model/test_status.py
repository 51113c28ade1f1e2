"""Invariant 3: a final status never changes; every other status can still become final."""

import pytest

from pipecd.model.status import (
    DEPLOYMENT_MOVES,
    STAGE_MOVES,
    DeploymentStatus,
    StageStatus,
    may_move,
    stage_may_move,
)


@pytest.mark.parametrize("old", [status for status in DeploymentStatus if status.final])
def test_a_final_deployment_status_never_changes(old: DeploymentStatus) -> None:
    assert [new for new in DeploymentStatus if may_move(old, new)] == [old]


@pytest.mark.parametrize("old", [status for status in StageStatus if status.final])
def test_a_final_stage_status_never_changes(old: StageStatus) -> None:
    assert [new for new in StageStatus if stage_may_move(old, new)] == [old]


@pytest.mark.parametrize("old", [status for status in DeploymentStatus if not status.final])
def test_every_unfinished_deployment_can_be_cancelled_and_can_fail(old: DeploymentStatus) -> None:
    assert may_move(old, DeploymentStatus.CANCELLED)
    assert may_move(old, DeploymentStatus.FAILURE)


def test_a_rolled_back_deployment_is_not_successful() -> None:
    assert not may_move(DeploymentStatus.ROLLING_BACK, DeploymentStatus.SUCCESS)


def test_no_move_goes_backwards() -> None:
    assert all(new > old for old, moves in DEPLOYMENT_MOVES.items() for new in moves)
    assert all(new > old for old, moves in STAGE_MOVES.items() for new in moves)


def test_exactly_the_statuses_without_moves_are_final() -> None:
    final = {DeploymentStatus.SUCCESS, DeploymentStatus.FAILURE, DeploymentStatus.CANCELLED}
    assert {status for status in DeploymentStatus if status.final} == final
    assert {status for status in StageStatus if not status.final} == {
        StageStatus.NOT_STARTED,
        StageStatus.RUNNING,
    }

"""The statuses of deployments and stages, and the allowed moves between them, as tables.

Shared by the agent, which makes the moves, and the control plane, which rejects invalid ones. The
numbers are the wire's.
"""

from collections.abc import Mapping
from enum import IntEnum


class DeploymentStatus(IntEnum):
    PENDING = 0
    PLANNED = 1
    RUNNING = 2
    ROLLING_BACK = 3
    SUCCESS = 4
    FAILURE = 5
    CANCELLED = 6

    @property
    def final(self) -> bool:
        return self in FINAL_DEPLOYMENT

    @property
    def active(self) -> bool:
        """An application has at most one active deployment."""
        return self in ACTIVE_DEPLOYMENT


class StageStatus(IntEnum):
    NOT_STARTED = 0
    RUNNING = 1
    SUCCESS = 2
    FAILURE = 3
    CANCELLED = 4
    SKIPPED = 5
    #: Ends the deployment as a success without running the following stages.
    EXITED = 6

    @property
    def final(self) -> bool:
        return not STAGE_MOVES[self]


class SyncStatus(IntEnum):
    """Whether an application's live state matches Git."""

    UNKNOWN = 0
    SYNCED = 1
    DEPLOYING = 2
    OUT_OF_SYNC = 3
    INVALID_CONFIG = 4


ACTIVE_DEPLOYMENT = frozenset(
    {DeploymentStatus.PLANNED, DeploymentStatus.RUNNING, DeploymentStatus.ROLLING_BACK}
)
FINAL_DEPLOYMENT = frozenset({DeploymentStatus.SUCCESS, DeploymentStatus.FAILURE, DeploymentStatus.CANCELLED})

DEPLOYMENT_MOVES: Mapping[DeploymentStatus, frozenset[DeploymentStatus]] = {
    DeploymentStatus.PENDING: frozenset(
        {DeploymentStatus.PLANNED, DeploymentStatus.FAILURE, DeploymentStatus.CANCELLED}
    ),
    DeploymentStatus.PLANNED: frozenset(
        {DeploymentStatus.RUNNING, DeploymentStatus.ROLLING_BACK, *FINAL_DEPLOYMENT}
    ),
    DeploymentStatus.RUNNING: frozenset({DeploymentStatus.ROLLING_BACK, *FINAL_DEPLOYMENT}),
    DeploymentStatus.ROLLING_BACK: frozenset({DeploymentStatus.FAILURE, DeploymentStatus.CANCELLED}),
    DeploymentStatus.SUCCESS: frozenset(),
    DeploymentStatus.FAILURE: frozenset(),
    DeploymentStatus.CANCELLED: frozenset(),
}

STAGE_MOVES: Mapping[StageStatus, frozenset[StageStatus]] = {
    StageStatus.NOT_STARTED: frozenset(
        {StageStatus.RUNNING, StageStatus.SKIPPED, StageStatus.CANCELLED, StageStatus.FAILURE}
    ),
    StageStatus.RUNNING: frozenset(
        {
            StageStatus.SUCCESS,
            StageStatus.FAILURE,
            StageStatus.CANCELLED,
            StageStatus.SKIPPED,
            StageStatus.EXITED,
        }
    ),
    StageStatus.SUCCESS: frozenset(),
    StageStatus.FAILURE: frozenset(),
    StageStatus.CANCELLED: frozenset(),
    StageStatus.SKIPPED: frozenset(),
    StageStatus.EXITED: frozenset(),
}


def may_move(old: DeploymentStatus, new: DeploymentStatus) -> bool:
    """Whether a deployment may move from `old` to `new`; the same status is always allowed."""
    return old == new or new in DEPLOYMENT_MOVES[old]


def stage_may_move(old: StageStatus, new: StageStatus) -> bool:
    """Whether a stage may move from `old` to `new`; the same status is always allowed."""
    return old == new or new in STAGE_MOVES[old]

"""The events that are notified about, as frozen values in the past tense.

Stages and the agent's loops create them where something happens, and `piped.notify` delivers them. `name` and
`group` are PipeCD's, which routes in the agent's file refer to. The control plane notifies about agents that
died (`CONTROL_PLANE_EVENTS`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from pipecd.model.application import Application
from pipecd.model.deployment import Commit, Deployment, Stage


class EventGroup(Enum):
    DEPLOYMENT = "DEPLOYMENT"
    APPLICATION_SYNC = "APPLICATION_SYNC"
    APPLICATION_HEALTH = "APPLICATION_HEALTH"
    PIPED = "PIPED"
    STAGE = "STAGE"


@dataclass(frozen=True, kw_only=True)
class NotificationEvent:
    """`at` is when it happened, in epoch seconds."""

    #: PipeCD's name of the event, without the prefix `EVENT_` that it has on the wire.
    name: ClassVar[str]
    group: ClassVar[EventGroup]
    at: int

    @property
    def subject(self) -> str:
        """Identifies what the event is about: two occurrences of one kind have different subjects."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """Identical if the same occurrence is reported again, for example after a restart of the agent."""
        return f"{self.subject}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class DeploymentEvent(NotificationEvent):
    group = EventGroup.DEPLOYMENT
    deployment: Deployment

    @property
    def subject(self) -> str:
        return self.deployment.id


@dataclass(frozen=True, kw_only=True)
class DeploymentTriggered(DeploymentEvent):
    name = "DEPLOYMENT_TRIGGERED"
    #: Why, as a sentence.
    reason: str


@dataclass(frozen=True, kw_only=True)
class DeploymentPlanned(DeploymentEvent):
    name = "DEPLOYMENT_PLANNED"
    #: The strategy and its reason, as a sentence.
    summary: str


@dataclass(frozen=True, kw_only=True)
class DeploymentStarted(DeploymentEvent):
    name = "DEPLOYMENT_STARTED"


@dataclass(frozen=True, kw_only=True)
class ApprovalRequested(DeploymentEvent):
    """`stage` waits until users have approved. Without `approvers`, everyone who may approve can."""

    name = "DEPLOYMENT_WAIT_APPROVAL"
    stage: Stage
    approvers: Sequence[str]

    @property
    def subject(self) -> str:
        return f"{self.deployment.id}/{self.stage.id}"


@dataclass(frozen=True, kw_only=True)
class DeploymentApproved(DeploymentEvent):
    """As many users as `stage` requires have approved."""

    name = "DEPLOYMENT_APPROVED"
    stage: Stage
    approvers: Sequence[str]

    @property
    def subject(self) -> str:
        return f"{self.deployment.id}/{self.stage.id}"


@dataclass(frozen=True, kw_only=True)
class RollbackStarted(DeploymentEvent):
    """PipeCD names this event in its files, but never sends it."""

    name = "DEPLOYMENT_ROLLING_BACK"
    reason: str


@dataclass(frozen=True, kw_only=True)
class DeploymentSucceeded(DeploymentEvent):
    name = "DEPLOYMENT_SUCCEEDED"


@dataclass(frozen=True, kw_only=True)
class DeploymentFailed(DeploymentEvent):
    name = "DEPLOYMENT_FAILED"
    reason: str


@dataclass(frozen=True, kw_only=True)
class DeploymentCancelled(DeploymentEvent):
    name = "DEPLOYMENT_CANCELLED"
    reason: str
    #: The user who requested it; empty if its deployment chain was cancelled.
    commander: str


@dataclass(frozen=True, kw_only=True)
class DeploymentTriggerFailed(NotificationEvent):
    """No deployment could be created: the application's file is invalid, or creating failed permanently."""

    name = "DEPLOYMENT_TRIGGER_FAILED"
    group = EventGroup.DEPLOYMENT
    application: Application
    #: None if the repository's head could not be read.
    commit: Commit | None
    reason: str

    @property
    def subject(self) -> str:
        commit = self.commit.hash if self.commit else ""
        digest = hashlib.sha256(self.reason.encode(errors="surrogateescape")).hexdigest()[:16]
        return f"{self.application.id}/{commit}/{digest}"


@dataclass(frozen=True, kw_only=True)
class StageEvent(NotificationEvent):
    """A stage of a pipeline or of a rollback changed its status; `stage` has the new one, and its reason."""

    group = EventGroup.STAGE
    deployment: Deployment
    stage: Stage

    @property
    def subject(self) -> str:
        return f"{self.deployment.id}/{self.stage.id}"


@dataclass(frozen=True, kw_only=True)
class StageStarted(StageEvent):
    name = "STAGE_STARTED"


@dataclass(frozen=True, kw_only=True)
class StageSkipped(StageEvent):
    name = "STAGE_SKIPPED"


@dataclass(frozen=True, kw_only=True)
class StageSucceeded(StageEvent):
    """Also for a stage that ended the deployment as a success (EXITED)."""

    name = "STAGE_SUCCEEDED"


@dataclass(frozen=True, kw_only=True)
class StageFailed(StageEvent):
    name = "STAGE_FAILED"


@dataclass(frozen=True, kw_only=True)
class StageCancelled(StageEvent):
    name = "STAGE_CANCELLED"


@dataclass(frozen=True, kw_only=True)
class ApplicationEvent(NotificationEvent):
    """The state of an application changed at `at`. PipeCD names these events, but never sends them."""

    application: Application
    #: The new state in one sentence, and in detail.
    summary: str
    reason: str

    @property
    def subject(self) -> str:
        return f"{self.application.id}/{self.at}"


@dataclass(frozen=True, kw_only=True)
class ApplicationSynced(ApplicationEvent):
    name = "APPLICATION_SYNCED"
    group = EventGroup.APPLICATION_SYNC


@dataclass(frozen=True, kw_only=True)
class ApplicationWentOutOfSync(ApplicationEvent):
    name = "APPLICATION_OUT_OF_SYNC"
    group = EventGroup.APPLICATION_SYNC


@dataclass(frozen=True, kw_only=True)
class ApplicationBecameHealthy(ApplicationEvent):
    name = "APPLICATION_HEALTHY"
    group = EventGroup.APPLICATION_HEALTH


@dataclass(frozen=True, kw_only=True)
class ApplicationBecameUnhealthy(ApplicationEvent):
    """PipeCD documents the name, but it has no number on the wire."""

    name = "APPLICATION_UNHEALTHY"
    group = EventGroup.APPLICATION_HEALTH


@dataclass(frozen=True, kw_only=True)
class PipedEvent(NotificationEvent):
    """`instance` identifies the process."""

    group = EventGroup.PIPED
    piped_id: str
    piped_name: str
    project_id: str
    version: str
    instance: str

    @property
    def subject(self) -> str:
        return f"{self.piped_id}/{self.instance}"


@dataclass(frozen=True, kw_only=True)
class PipedStarted(PipedEvent):
    name = "PIPED_STARTED"


@dataclass(frozen=True, kw_only=True)
class PipedStopped(PipedEvent):
    name = "PIPED_STOPPED"


@dataclass(frozen=True, kw_only=True)
class PipedWentOffline(PipedEvent):
    """`at` is when the control plane last had contact with the agent; `instance` is empty. Not in PipeCD."""

    name = "PIPED_OFFLINE"

    @property
    def subject(self) -> str:
        return f"{self.piped_id}/{self.at}"


@dataclass(frozen=True, kw_only=True)
class PipedCameOnline(PipedEvent):
    """The end of what `PipedWentOffline` with the same `offline_since` reported. Not in PipeCD."""

    name = "PIPED_ONLINE"
    #: Epoch seconds.
    offline_since: int

    @property
    def subject(self) -> str:
        return f"{self.piped_id}/{self.offline_since}"


#: The events of the control plane by their names: those of agents that can send nothing themselves.
CONTROL_PLANE_EVENTS: Mapping[str, type[NotificationEvent]] = {
    event_type.name: event_type for event_type in (PipedWentOffline, PipedCameOnline)
}
#: Every event of the agent by its name.
EVENT_TYPES: Mapping[str, type[NotificationEvent]] = {
    event_type.name: event_type
    for event_type in (
        DeploymentTriggered,
        DeploymentTriggerFailed,
        DeploymentPlanned,
        DeploymentStarted,
        ApprovalRequested,
        DeploymentApproved,
        RollbackStarted,
        DeploymentSucceeded,
        DeploymentFailed,
        DeploymentCancelled,
        StageStarted,
        StageSkipped,
        StageSucceeded,
        StageFailed,
        StageCancelled,
        ApplicationSynced,
        ApplicationWentOutOfSync,
        ApplicationBecameHealthy,
        ApplicationBecameUnhealthy,
        PipedStarted,
        PipedStopped,
    )
}

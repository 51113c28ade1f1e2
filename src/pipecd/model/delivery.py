"""What one ended deployment says about the delivery of its application: lead time, failure, restoration.

`measure` turns the deployments of one application, in the order in which they ended, into deliveries. The
control plane calls it in the transaction that ends a deployment; `model.insight` adds deliveries up.
Times are seconds since the epoch, durations are seconds.
"""

import re
from dataclasses import dataclass, replace

from pipecd.model.status import DeploymentStatus

#: How long after a success a deployment that takes it back makes it a failed change, in seconds.
UNDONE_WITHIN = 24 * 3600
_UNDOING = re.compile(r"(revert|rollback|roll back|hotfix)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A deployment that ended."""

    status: DeploymentStatus
    #: Whether a stage ran that changes something: not only waiting and approval.
    changed: bool
    #: Whether a rollback stage ran.
    rolled_back: bool
    completed_at: int
    #: Time of the deployed commit.
    commit_at: int
    commit_message: str = ""
    #: Time of the source commit that caused the deployed one; 0 if it is unknown.
    source_at: int = 0

    @property
    def succeeded(self) -> bool:
        return self.status is DeploymentStatus.SUCCESS

    @property
    def failed(self) -> bool:
        """Whether it is a failed change: it changed something, and failed or was rolled back."""
        return not self.succeeded and self.changed and (self.rolled_back or self._ended_as_failure)

    @property
    def _ended_as_failure(self) -> bool:
        return self.status is DeploymentStatus.FAILURE


@dataclass(frozen=True, kw_only=True)
class History:
    """What the earlier deliveries of an application left; 0 means that there is none."""

    #: Time of the deployed commit, and when its deployment succeeded.
    commit_at: int = 0
    succeeded_at: int = 0
    #: Time of the first commit that is newer than the deployed one, and whose deployment did not succeed.
    waiting_since: int = 0
    #: When the first failed change since the last success ended.
    failing_since: int = 0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The measurements of an ended deployment, and the history after it."""

    history: History
    #: From the first commit that it brought to its success. None unless it succeeded with a newer commit.
    lead: int | None = None
    #: From the failure that it ended to its success. None unless there was one.
    restore: int | None = None
    #: When the success ended that it took back. None unless it did.
    undone_at: int | None = None


def measure(history: History, ended: Ended) -> Delivery:
    """The delivery that `ended` is, after the earlier ones of its application."""
    origin = ended.source_at or ended.commit_at
    newer = ended.commit_at > history.commit_at
    if not ended.succeeded:
        since = history.failing_since or (ended.completed_at if ended.failed else 0)
        waiting = min(origin, history.waiting_since or origin) if newer else history.waiting_since
        return Delivery(history=replace(history, waiting_since=waiting, failing_since=since))
    undone_at = history.succeeded_at if _takes_back(history, ended) else None
    lead = restore = None
    if newer and history.commit_at:
        lead = max(0, ended.completed_at - min(origin, history.waiting_since or origin))
    if failed_at := history.failing_since or undone_at:
        restore = max(0, ended.completed_at - failed_at)
    after = History(commit_at=ended.commit_at, succeeded_at=ended.completed_at)
    return Delivery(history=after, lead=lead, restore=restore, undone_at=undone_at)


def _takes_back(history: History, ended: Ended) -> bool:
    """Whether `ended` takes the last success back: an older commit, or one that says so.

    After a failed change, what is taken back is that change, which already counts.
    """
    if not history.succeeded_at or history.failing_since:
        return False
    undoes = ended.commit_at < history.commit_at or _UNDOING.match(ended.commit_message) is not None
    return undoes and ended.completed_at - history.succeeded_at <= UNDONE_WITHIN

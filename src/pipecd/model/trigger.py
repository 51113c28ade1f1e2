"""Decides whether a commit, a command, drift or a chain triggers a deployment.

Pure: `piped.trigger` collects the inputs. Each decision carries its reason as a sentence.
`config.application` defines the rules; only their protocols are declared here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pipecd.model.application import Pin
from pipecd.model.deployment import Deployment
from pipecd.model.paths import PathPattern, find_touched_path

#: Shared metadata of a deployment that rolls back: the id of the earlier deployment.
ROLLBACK_TARGET = "pipecd/rollback-target"


class Switch(Protocol):
    """`trigger.onCommand` and `trigger.onChain`."""

    @property
    def disabled(self) -> bool: ...


class OnCommit(Switch, Protocol):
    @property
    def paths(self) -> Sequence[PathPattern]: ...

    @property
    def ignores(self) -> Sequence[PathPattern]: ...


class OnOutOfSync(Switch, Protocol):
    @property
    def min_window(self) -> timedelta: ...


@dataclass(frozen=True, kw_only=True)
class Decision:
    triggered: bool
    reason: str
    #: Only a pin prevents the deployment.
    held: bool = False


def on_commit(
    rule: OnCommit, *, directory: str, last: str, head: str, changed: Sequence[str] | None
) -> Decision:
    """`last` is the last commit that was triggered or decided on; empty if there was none.

    `changed` are the files that differ between it and `head`; None if `last` is no longer in the repository,
    so that the difference is unknown.
    """
    if rule.disabled:
        return _no("trigger.onCommit is disabled")
    if not last:
        return _yes("The application was never deployed")
    if last == head:
        return _no("The head commit was already handled")
    if changed is None:
        return _yes(f"The branch was rewritten: commit {last[:7]} is no longer in the repository")
    path = find_touched_path(changed, directory=directory, paths=rule.paths, ignores=rule.ignores)
    if path is None:
        return _no(f"No file of the application changed between {last[:7]} and {head[:7]}")
    return _yes(f"{path} changed between {last[:7]} and {head[:7]}")


def on_command(rule: Switch) -> Decision:
    if rule.disabled:
        return _no("trigger.onCommand is disabled in the application's file")
    return _yes("A sync was requested")


def on_chain(rule: Switch) -> Decision:
    if rule.disabled:
        return _no("trigger.onChain is not enabled in the application's file")
    return _yes("It is the application's turn in a deployment chain")


def on_out_of_sync(
    rule: OnOutOfSync, *, last: Deployment | None, now: float, stop_reason: str = ""
) -> Decision:
    """`last` is the deployment that was triggered most recently; `now` is epoch seconds.

    `stop_reason` says why this drift is not corrected any more; empty if it is.
    """
    if rule.disabled:
        return _no("trigger.onOutOfSync is not enabled")
    if stop_reason:
        return _no(stop_reason)
    if last is None:
        return _yes("The application is out of sync and was never deployed")
    if not last.status.final:
        return _no("The last deployment is still running")
    # A deployment that ended in the future says that the machine's clock was set back.
    if 0 <= now - last.completed_at < rule.min_window.total_seconds():
        return _no(f"The last deployment ended less than {rule.min_window} ago")
    return _yes("The application is out of sync with its files")


def hold(decision: Decision, pin: Pin | None, *, now: float) -> Decision:
    """`decision` of an automatic trigger, as a pin of the application allows it. `now` is epoch seconds."""
    if not decision.triggered or pin is None or not pin.is_active(now):
        return decision
    return Decision(
        triggered=False,
        reason=f"The application is pinned to commit {pin.commit[:7]} by {pin.by}: {decision.reason}",
        held=True,
    )


def displaced_by(pin: Pin | None, deployment: Deployment, *, now: float) -> str:
    """Why `deployment`, which waited for its turn, must not begin any more; empty if it may.

    It was triggered before the rollback that pinned its application, and would undo it. `now`: epoch seconds.
    """
    if pin is None or not pin.is_active(now) or deployment.shared.get(ROLLBACK_TARGET) == pin.deployment_id:
        return ""
    return f"The application was pinned to commit {pin.commit[:7]} by {pin.by} before this deployment began"


def _yes(reason: str) -> Decision:
    return Decision(triggered=True, reason=reason)


def _no(reason: str) -> Decision:
    return Decision(triggered=False, reason=reason)

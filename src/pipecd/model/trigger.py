"""Whether a commit, a person, drift or a chain leads to a deployment. Pure: `piped.trigger` finds the facts.

Each answer carries its reason as a sentence. What a rule looks like in an application's file stands in
`config.application`; only its shape is known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pipecd.model.deployment import Deployment
from pipecd.model.paths import touched


class Switch(Protocol):
    """`trigger.onCommand` and `trigger.onChain`."""

    @property
    def disabled(self) -> bool: ...


class OnCommit(Switch, Protocol):
    @property
    def paths(self) -> Sequence[str]: ...

    @property
    def ignores(self) -> Sequence[str]: ...


class OnOutOfSync(Switch, Protocol):
    @property
    def min_window(self) -> timedelta: ...


@dataclass(frozen=True, kw_only=True)
class Decision:
    triggered: bool
    why: str


def on_commit(
    rule: OnCommit, *, directory: str, last: str, head: str, changed: Sequence[str] | None
) -> Decision:
    """`last` is the commit that was triggered or decided about before, empty when there was none.

    `changed` are the files that differ between it and `head`; None when `last` is not in the repository any
    more, and nobody can tell.
    """
    if rule.disabled:
        return _no("trigger.onCommit is disabled")
    if not last:
        return _yes("The application was never deployed")
    if last == head:
        return _no("The head commit was dealt with already")
    if changed is None:
        return _yes(f"The branch was rewritten: commit {last[:7]} is not in the repository any more")
    path = touched(changed, directory=directory, paths=rule.paths, ignores=rule.ignores)
    if path is None:
        return _no(f"Nothing of the application changed between {last[:7]} and {head[:7]}")
    return _yes(f"{path} changed between {last[:7]} and {head[:7]}")


def on_command(rule: Switch) -> Decision:
    if rule.disabled:
        return _no("trigger.onCommand is disabled in the application's file")
    return _yes("Somebody asked for it")


def on_chain(rule: Switch) -> Decision:
    if rule.disabled:
        return _no("trigger.onChain is not enabled in the application's file")
    return _yes("It is the application's turn in a deployment chain")


def on_out_of_sync(rule: OnOutOfSync, *, last: Deployment | None, now: float) -> Decision:
    """`last` is the deployment that was triggered most recently; `now` is epoch seconds."""
    if rule.disabled:
        return _no("trigger.onOutOfSync is not enabled")
    if last is None:
        return _yes("The application is out of sync and was never deployed")
    if not last.status.final:
        return _no("The last deployment is still at work")
    if now - last.completed_at < rule.min_window.total_seconds():
        return _no(f"The last deployment ended less than {rule.min_window} ago")
    return _yes("The application is out of sync with its files")


def _yes(why: str) -> Decision:
    return Decision(triggered=True, why=why)


def _no(why: str) -> Decision:
    return Decision(triggered=False, why=why)

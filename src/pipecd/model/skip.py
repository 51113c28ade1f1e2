"""Decides whether `skipOn` skips a stage. Called by `piped.deploy.perform` before the stage's first call."""

from collections.abc import Sequence
from typing import Protocol

from pipecd.model.paths import PathPattern, match_paths


class SkipOn(Protocol):
    """`config.stages.SkipOn`: a match of either field skips the stage."""

    @property
    def commit_message_prefixes(self) -> Sequence[str]: ...

    @property
    def paths(self) -> Sequence[PathPattern]: ...


def skip_reason(rule: SkipOn, message: str, changed: Sequence[str] | None) -> str:
    """The reason for skipping the stage, as a sentence; empty if it is not skipped.

    `changed` are the files that differ between the running and the target commit; None before the first
    deployment, when paths never skip.
    """
    if rule.paths and changed and match_paths(rule.paths, changed) >= set(changed):
        return "Skipped: the change touches only files that match skipOn.paths"
    for prefix in rule.commit_message_prefixes:
        if prefix and message.startswith(prefix):
            return f"Skipped: the commit message begins with {prefix!r}"
    return ""

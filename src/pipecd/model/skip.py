"""Whether a stage is skipped for the sake of what is deployed. `piped.perform` asks before the first call."""

from collections.abc import Sequence
from typing import Protocol

from pipecd.model.paths import matches


class SkipOn(Protocol):
    """`config.stages.SkipOn`: either is enough."""

    @property
    def commit_message_prefixes(self) -> Sequence[str]: ...

    @property
    def paths(self) -> Sequence[str]: ...


def skips(rule: SkipOn, message: str, changed: Sequence[str] | None) -> str:
    """Why the stage is skipped, as a sentence; empty when it is not.

    `changed` are the files between the running and the target commit; None when nothing runs yet, which no
    path can excuse.
    """
    if rule.paths and changed and all(matches(rule.paths, path) for path in changed):
        return "Skipped: the change touches only files that skipOn.paths names"
    for prefix in rule.commit_message_prefixes:
        if prefix and message.startswith(prefix):
            return f"Skipped: the commit message begins with {prefix!r}"
    return ""

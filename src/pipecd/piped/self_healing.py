"""Stops correcting drift that comes back each time, because another program keeps changing the resources.

`observe.drift` records what it finds, and `trigger` asks before it corrects drift. Correcting starts again
when the live state matches Git, when other fields differ, with a new commit, or when a user requests a sync.
After a restart of the agent it starts again, too.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.model.application import Application
from pipecd.model.drift import Drift

#: The same drift may appear this often within this time (seconds), each time after another deployment.
MAX_APPEARANCES, WINDOW = 3, 600.0
#: Different drifts of one application that are remembered.
_MAX_DRIFTS = 20
#: Programs that the message names.
_MAX_NAMED = 5


@dataclass
class _Appearances:
    """When one drift was first seen after each deployment: deployment id → monotonic seconds."""

    at: BoundedDict[str, float] = field(default_factory=lambda: BoundedDict(MAX_APPEARANCES))
    stopped: bool = False


@dataclass
class _History:
    """Of one application, at one commit."""

    commit: str
    drifts: BoundedDict[str, _Appearances] = field(default_factory=lambda: BoundedDict(_MAX_DRIFTS))
    #: The message about the current drift; empty if it is corrected.
    message: str = ""


class SelfHealing:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._histories: dict[str, _History] = {}

    def record_drift(self, application: Application, drift: Drift) -> str:
        """Why the drift is no longer corrected; empty if it is."""
        last = application.last_triggered
        commit, deployment = (last.commit, last.deployment_id) if last else ("", "")
        history = self._histories.get(application.id)
        if history is None or history.commit != commit:
            history = self._histories[application.id] = _History(commit)
        fingerprint = drift.fingerprint or drift.summary
        appearances = history.drifts.setdefault(fingerprint, _Appearances())
        history.drifts.move_to_end(fingerprint)
        now = self._clock.monotonic()
        appearances.at.setdefault(deployment, now)
        recent = [at for at in appearances.at.values() if now - at <= WINDOW]
        appearances.stopped = appearances.stopped or len(recent) >= MAX_APPEARANCES
        history.message = _message(drift) if appearances.stopped else ""
        return history.message

    def record_in_sync(self, application: Application) -> None:
        """Between two corrections this is so for a moment; then the history is kept."""
        history = self._histories.get(application.id)
        if history and history.message:
            self.reset(application.id)

    def reset(self, application_id: str) -> None:
        """Correct drift again, for example because a user requests it."""
        self._histories.pop(application_id, None)

    def stop_reason(self, application_id: str) -> str:
        """Why the current drift is not corrected; empty if it is."""
        history = self._histories.get(application_id)
        return history.message if history else ""

    def prune(self, applications: Collection[str]) -> None:
        """Drops the histories of applications whose id is not in `applications`."""
        self._histories = {key: value for key, value in self._histories.items() if key in applications}


def _message(drift: Drift) -> str:
    names = ", ".join(drift.changed_by[:_MAX_NAMED])
    text = f"Not corrected any more: it came back {MAX_APPEARANCES} times within {WINDOW / 60:g} minutes"
    return f"{text}, changed by {names}" if names else text

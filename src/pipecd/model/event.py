"""Events, and which of them are written to Git. Pure: called by the agent's event watcher.

An event is identified by its name and all its labels. The newest event of a name and labels replaces the
older ones, which are outdated.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, kw_only=True)
class Event:
    """`created_at` is in epoch seconds; `trigger_commit` is the source commit that caused the event."""

    id: str
    name: str
    data: str
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    trigger_commit: str = ""
    created_at: int = 0
    #: Repository and id of the agent's watches that have handled it.
    handled_by: frozenset[tuple[str, str]] = frozenset()

    @property
    def key(self) -> str:
        return event_key(self.name, self.labels)


class EventOutcome(Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    OUTDATED = "outdated"


@dataclass(frozen=True, kw_only=True)
class EventResult:
    """What one watch did with an event. `message` is a sentence; the others are empty if there is none.

    `commit` has the value, on `branch`; `pull_request` is the URL of the page that proposes it.
    """

    outcome: EventOutcome
    message: str
    commit: str = ""
    branch: str = ""
    pull_request: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Events of one key: the one to handle, and the older ones, with the reason why they are outdated."""

    due: Event | None
    outdated: Mapping[str, str]


def event_key(name: str, labels: Mapping[str, str]) -> str:
    """Hex SHA-256 of the name and the labels, independent of the order of the labels."""
    text = name + "".join(f"/{key}:{labels[key]}" for key in sorted(labels))
    return hashlib.sha256(text.encode()).hexdigest()


def select_events(events: Iterable[Event], *, now: int, max_age: int) -> Selection:
    """Of events with one key: the newest, unless it is older than `max_age` seconds."""
    ordered = sorted(events, key=lambda event: (event.created_at, event.id))
    if not ordered:
        return Selection(due=None, outdated={})
    newest = ordered[-1]
    outdated = {event.id: f"The newer event {newest.id} replaces it" for event in ordered[:-1]}
    if newest.created_at >= now - max_age:
        return Selection(due=newest, outdated=outdated)
    reason = f"It was registered more than {max_age // 3600} hours ago, before a piped handled it"
    return Selection(due=None, outdated={**outdated, newest.id: reason})


def combine_results(results: Sequence[EventResult]) -> EventResult:
    """The result of an event that several watchers handled: a failure prevails, then a success."""
    if len(results) == 1:
        return results[0]
    for outcome in (EventOutcome.FAILURE, EventOutcome.SUCCESS):
        messages = [result.message for result in results if result.outcome is outcome]
        if messages:
            return EventResult(outcome=outcome, message="; ".join(dict.fromkeys(messages)))
    return EventResult(
        outcome=EventOutcome.OUTDATED, message="; ".join(dict.fromkeys(result.message for result in results))
    )

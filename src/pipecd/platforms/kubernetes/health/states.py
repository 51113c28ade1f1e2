"""The state of an object: it works, it may become ready, or it needs a change."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Ready:
    """It works, or its kind has no health."""

    note: str = ""


@dataclass(frozen=True)
class Broken:
    """It does not become ready without a change."""

    reason: str


@dataclass(frozen=True)
class Waiting:
    """It may become ready. `note` is what it waits for."""

    note: str
    #: What hinders it, and may end without a change, such as an image that cannot be pulled. Live state shows
    #: it at once; a stage fails after a while.
    problem: str = ""
    #: If the object has not changed by this time (epoch seconds), its state is `then`.
    until: float = math.inf
    then: Ready | Broken | None = None


State = Ready | Waiting | Broken


def state_at(state: State, now: float) -> State:
    """The state at a time (epoch seconds)."""
    if isinstance(state, Waiting) and state.then is not None and now >= state.until:
        return state.then
    return state

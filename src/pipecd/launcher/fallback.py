"""Which wish to follow, which to give up for now, and how long to pause: rules without a clock.

Asked by `keeper`. A wish is refused for a while when its agent would not live; then what was good before
runs on, and without such a past the launcher's own version with the newest configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipecd.launcher.desired import Wanted
from pipecd.launcher.options import Patience

#: Lives that end before they are steady, until a wish is given up.
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the launcher has learnt: wishes that worked, newest first, and until when others are refused."""

    good: Sequence[Wanted] = ()
    refused: Mapping[Wanted, float] = field(default_factory=dict)

    def worked(self, wanted: Wanted) -> "Past":
        refused = {one: until for one, until in self.refused.items() if one != wanted}
        return Past(good=(wanted, *(one for one in self.good if one != wanted)), refused=refused)

    def failed(self, wanted: Wanted, until: float) -> "Past":
        return replace(self, refused={**self.refused, wanted: until})


def choose(wanted: Wanted, past: Past, now: float, *, own_version: str) -> Wanted:
    """The wish itself, unless it failed lately and something else is left."""
    same_config = [one for one in past.good if one.config == wanted.config]
    others = [one for one in past.good if one.config != wanted.config]
    for candidate in (wanted, *same_config, Wanted(version=own_version, config=wanted.config), *others):
        if past.refused.get(candidate, now) <= now:
            return candidate
    return wanted


@dataclass(frozen=True, kw_only=True)
class Life:
    """How one agent's process ended.

    `code` is negative for a signal, and None when we ended it because it never answered. `well` says that it
    answered once, `steady` that it had proved itself.
    """

    code: int | None
    well: bool = False
    steady: bool = False

    @property
    def by_request(self) -> bool:
        """A person asked the agent to start anew, and it ended in good order."""
        return self.code == 0 and self.well


@dataclass(frozen=True, kw_only=True)
class Next:
    """Give the wish up or not, and pause so many seconds. `failures` are those in a row."""

    give_up: bool
    pause: float
    failures: int


def after(life: Life, failures: int, patience: Patience) -> Next:
    """What an ended life means for the next one, after so many failures in a row before it."""
    if life.by_request:
        return Next(give_up=False, pause=0.0, failures=0)
    count = 1 if life.steady else failures + 1
    pause = min(patience.longest_pause, patience.first_pause * 2 ** (count - 1))
    return Next(give_up=not life.steady and count >= TRIES, pause=pause, failures=count)

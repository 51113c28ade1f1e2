"""The ports of a platform, and the door that built-in and foreign platforms come through alike.

A platform is an object found under the entry-point group `pipecd.platforms`, by the name of its
`ApplicationKind`. It is loaded when the first application of that kind appears, so an agent pays
for no SDK that it does not use. Planning, loops, rollback's preamble and reporting exist once,
elsewhere; a platform holds only what differs.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from pipecd.errors import ConfigError
from pipecd.model.deployment import Version
from pipecd.model.drift import Drift
from pipecd.model.look import Look
from pipecd.model.plan import Predefined as Predefined
from pipecd.model.plan import Strategy as Strategy
from pipecd.model.preview import Preview, PreviewWork
from pipecd.model.resource import Resource
from pipecd.model.stage import Source, StageFunction

ENTRY_POINTS = "pipecd.platforms"


class Platform(Protocol):
    #: `kind` in application files, such as `TerraformApp`.
    config_kind: str
    #: Decodes `spec` of such a file; a subclass of `config.application.ApplicationSpec`.
    spec: type[Any]
    #: Decodes `config` of a platform provider in the agent's file.
    provider: type[BaseModel]
    quick_sync: Predefined
    #: Whether a failed deployment is rolled back where the application's file says nothing about it.
    auto_rollback: bool
    #: Stage name → the type its `with` is decoded to. ROLLBACK is among `stages`, not here.
    options: Mapping[str, type[BaseModel]]
    stages: Mapping[str, StageFunction]

    async def desired(self, source: Source) -> Any:
        """What the files ask for. Raises ConfigError with file, line and key."""
        ...

    def versions(self, desired: Any) -> Sequence[Version]: ...

    def strategy(self, running: Any | None, target: Any) -> Strategy:
        """How to sync when nothing else decided. `running` None means: nothing was deployed before."""
        ...


@runtime_checkable
class Previews(Protocol):
    """What a platform has besides, when it can tell what a pull request would change."""

    async def plan_preview(self, work: PreviewWork, /) -> Preview:
        """Changes nothing outside the checkouts. Raises UserError."""
        ...


@runtime_checkable
class Observes(Protocol):
    """What a platform has besides, when it can tell what runs. Only changes are sent on."""

    #: How often to ask (seconds).
    live_interval: float
    #: How often while a deployment is under way (seconds). Once it has ended, the agent asks at once.
    live_deploying: float
    #: Whether a look runs a program in a checkout, for minutes maybe: then one is made at a time.
    live_heavy: bool
    #: Whether it shows what somebody changed by hand. If so, drift is compared less while nothing moves.
    live_firsthand: bool

    async def live(self, look: Look, /) -> Sequence[Resource]:
        """Everything that runs of the application now, parents before children."""
        ...


@runtime_checkable
class Compares(Protocol):
    """What a platform has besides, when it can tell whether what runs is what Git asks for."""

    #: How often to ask (seconds).
    drift_interval: float

    def drift_enabled(self, provider: Any, /) -> bool:
        """Whether the provider's `config`, None where there is none, wants it."""
        ...

    async def drift(self, look: Look, /) -> Drift:
        """Takes no lock and changes nothing. Raises UserError when it cannot be told."""
        ...


@cache
def platform(kind: str) -> Platform:
    """The platform named `kind` (an `ApplicationKind`'s name). Raises ConfigError when none is installed."""
    found = entry_points(group=ENTRY_POINTS, name=kind)
    if not found:
        raise ConfigError(
            f"no platform {kind} is installed",
            remedy=f"install a package that provides the entry point {ENTRY_POINTS}:{kind}",
        )
    loaded: Platform = next(iter(found)).load()
    return loaded


def installed() -> Sequence[str]:
    """The names of all installed platforms, without loading any."""
    return sorted(found.name for found in entry_points(group=ENTRY_POINTS))

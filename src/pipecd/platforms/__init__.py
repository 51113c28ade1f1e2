"""The platform protocols, and the loader for built-in and third-party platforms.

A platform is an object registered under the entry-point group `pipecd.platforms`, by the name of its
`ApplicationKind`. It is loaded when the first application of that kind appears, so an agent does not import
SDKs that it does not use. Planning, loops, the start of a rollback and reporting are shared code in `piped`;
a platform holds only what differs.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from pipecd.errors import ConfigError
from pipecd.model.deployment import Version
from pipecd.model.drift import Drift
from pipecd.model.observation import ObservationRequest
from pipecd.model.plan import Predefined as Predefined
from pipecd.model.plan import Strategy as Strategy
from pipecd.model.preview import Preview, PreviewRequest
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
    #: Default of `autoRollback`: whether a failed deployment is rolled back.
    auto_rollback: bool
    #: Stage name → the type its `with` is decoded to, for the stages that a pipeline may contain.
    options: Mapping[str, type[BaseModel]]
    #: The functions of the same stages, of the quick sync, and of ROLLBACK if the platform can roll back.
    stages: Mapping[str, StageFunction]

    async def load_desired_state(self, source: Source) -> Any:
        """The state that the application's files declare. Raises ConfigError with file, line and key."""
        ...

    def versions(self, desired: Any) -> Sequence[Version]: ...

    def choose_strategy(self, running: Any | None, target: Any) -> Strategy:
        """How to sync when nothing else decided. `running` is None before the first deployment."""
        ...


@runtime_checkable
class Previews(Protocol):
    """Optional: a platform that can preview what a pull request would change."""

    async def plan_preview(self, request: PreviewRequest, /) -> Preview:
        """Changes nothing outside the checkouts. Raises UserError."""
        ...


@runtime_checkable
class Observes(Protocol):
    """Optional: a platform that can report its live state. The agent sends only changes on."""

    #: Polling interval (seconds).
    live_interval: float
    #: Polling interval while a deployment runs (seconds). When it ends, the agent polls immediately.
    live_interval_deploying: float
    #: Whether loading the live state runs a program in a checkout, possibly for minutes. Such platforms are
    #: polled one application at a time.
    live_runs_program: bool
    #: Whether the live state shows manual changes. If so, drift is detected less often while it is unchanged.
    live_shows_manual_changes: bool

    async def load_live_state(self, request: ObservationRequest, /) -> Sequence[Resource]:
        """All resources of the application that run now, parents before children."""
        ...


@runtime_checkable
class Compares(Protocol):
    """Optional: a platform that can compare the live state with Git."""

    #: Polling interval (seconds).
    drift_interval: float

    def drift_enabled(self, provider: Any, /) -> bool:
        """Whether the provider's `config` (None without a provider) enables drift detection."""
        ...

    async def detect_drift(self, request: ObservationRequest, /) -> Drift:
        """Takes no lock and changes nothing. Raises UserError when the comparison is impossible."""
        ...


@cache
def load_platform(kind: str) -> Platform:
    """The platform named `kind` (an `ApplicationKind`'s name). Raises ConfigError when none is installed."""
    matches = entry_points(group=ENTRY_POINTS, name=kind)
    if not matches:
        raise ConfigError(
            f"no platform {kind} is installed",
            remedy=f"install a package that provides the entry point {ENTRY_POINTS}:{kind}",
        )
    platform: Platform = next(iter(matches)).load()
    return platform


def installed_platforms() -> Sequence[str]:
    """The names of all installed platforms, without loading any."""
    return sorted(entry_point.name for entry_point in entry_points(group=ENTRY_POINTS))


def load_installed_platforms() -> Mapping[str, Platform]:
    """Every installed platform by name, except those that cannot be loaded: their applications report why."""
    platforms: dict[str, Platform] = {}
    for kind in installed_platforms():
        with suppress(ConfigError):
            platforms[kind] = load_platform(kind)
    return platforms

"""Finds the installed platforms, and loads the one of a kind.

A platform is a `Platform` registered under the entry-point group `pipecd.platforms`, by this package or by
another one. The entry point's name is the name of the kind, such as `TERRAFORM`. A platform is imported when
the first application of its kind appears, so that an agent does not import SDKs that it does not use. What it
needs is known before: `module:object [extra]` names the extra of its package that it requires.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

import structlog
from packaging.requirements import Requirement

from pipecd.errors import ConfigError
from pipecd.platforms import Platform

log = structlog.get_logger()

ENTRY_POINTS = "pipecd.platforms"

#: Platforms by kind, or the error of loading them: an import is tried once.
_loaded: dict[str, Platform[Any] | ConfigError] = {}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An installed platform. `missing` names the packages that it requires and that are not installed."""

    kind: str
    #: The package that provides it.
    package: str
    missing: Sequence[str] = ()
    #: What to install if something is missing, such as `pipecd[aws]`.
    remedy: str = ""


def load_platform(kind: str) -> Platform[Any]:
    """The platform of the kind named `kind`. Raises ConfigError if it is not installed or cannot be used."""
    if kind not in _loaded:
        _loaded[kind] = _load(kind)
    loaded = _loaded[kind]
    if isinstance(loaded, ConfigError):
        # A new error: a raised one collects the tracebacks of all its callers.
        raise ConfigError(loaded.what, remedy=loaded.remedy)
    return loaded


def load_platforms(kinds: Iterable[str]) -> Mapping[str, Platform[Any]]:
    """The platforms of `kinds`, except those that cannot be used: their applications report why."""
    platforms: dict[str, Platform[Any]] = {}
    for kind in kinds:
        with suppress(ConfigError):
            platforms[kind] = load_platform(kind)
    return platforms


@cache
def installed_platforms() -> Mapping[str, Installed]:
    """The installed platforms by kind, sorted, judged by the metadata of their packages alone."""
    return {
        kind: _check(kind, candidates[0])
        for kind, candidates in sorted(_entry_points().items())
        if len(candidates) == 1
    }


@cache
def _entry_points() -> Mapping[str, Sequence[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=ENTRY_POINTS):
        found.setdefault(entry_point.name, []).append(entry_point)
    return found


def _check(kind: str, entry_point: EntryPoint) -> Installed:
    package = entry_point.dist.name if entry_point.dist else entry_point.module
    requirements = entry_point.dist.requires if entry_point.dist else None
    missing = [
        requirement.name
        for requirement in map(Requirement, requirements or ())
        if requirement.marker
        and any(requirement.marker.evaluate({"extra": extra}) for extra in entry_point.extras)
        and not _is_installed(requirement.name)
    ]
    remedy = f"{package}[{','.join(entry_point.extras)}]" if missing else ""
    return Installed(kind=kind, package=package, missing=missing, remedy=remedy)


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _load(kind: str) -> Platform[Any] | ConfigError:
    candidates = _entry_points().get(kind, ())
    if len(candidates) > 1:
        packages = " and ".join(_check(kind, candidate).package for candidate in candidates)
        return ConfigError(f"the platform {kind} is provided by {packages}", remedy="uninstall one of them")
    if not candidates:
        names = ", ".join(sorted(_entry_points())) or "none"
        return ConfigError(
            f"this agent has no platform {kind}",
            remedy=f"install the package that provides it; installed: {names}",
        )
    installed = _check(kind, candidates[0])
    if installed.missing:
        return ConfigError(
            f"the platform {kind} requires {', '.join(installed.missing)}, not installed on this agent",
            remedy=f"install {installed.remedy}",
        )
    try:
        platform = candidates[0].load()
    except Exception as error:
        # A package can fail with anything; only applications of its kind may fail with it.
        log.exception("platform_not_loaded", kind=kind, package=installed.package)
        return ConfigError(
            f"the platform {kind} cannot be loaded: {type(error).__name__}: {error}",
            remedy=f"reinstall {installed.package}, with a version that supports this agent",
        )
    if not isinstance(platform, Platform):
        return ConfigError(
            f"the platform {kind} of {installed.package} is a {type(platform).__name__}, not a Platform",
            remedy=f"upgrade {installed.package} to a version that supports this agent",
        )
    if platform.config_kind.upper() != f"{kind}APP":
        return ConfigError(
            f"the platform {kind} of {installed.package} reads files of another kind, {platform.config_kind}",
            remedy=f"upgrade {installed.package} to a version that supports this agent",
        )
    return platform

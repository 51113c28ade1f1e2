"""Finds Helm and Kustomize, and the environment that they run in."""

import asyncio
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from pipecd import process, tools
from pipecd.errors import ConfigError, PipecdError

#: Variables that a renderer needs. Others may contain the agent's credentials.
_PASSED = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
#: How a program is asked for its version.
_VERSION_COMMANDS = {
    "helm": ("version", "--short"),
    "kustomize": ("version",),
    "kubectl": ("version", "--client", "-o", "json"),
}
_NUMBER = re.compile(r"v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?)")
_VERSION_TIMEOUT = 30.0
#: Path and time of change of a program → its version.
_versions: dict[tuple[str, int], str] = {}


@dataclass(frozen=True)
class Tool:
    """A program. `note` is a sentence if it has another version than was requested."""

    path: Path
    note: str = ""


async def find(name: str, version: str) -> Tool | None:
    """The program in the requested version, else another one: the newest, of the same major version if any.

    An application that names a version that the agent does not have can thus be rendered. None if there is
    no such program.
    """
    if not version:
        path = tools.find(name)
        return Tool(path) if path else None
    try:
        exact = tools.find(name, version=version)
    except ConfigError:
        exact = None
    if exact:
        return Tool(exact)
    candidates = [
        *await asyncio.to_thread(lambda: list(_versioned(name))),
        *([(path, await _installed_version(name, path))] if (path := tools.find(name)) else []),
    ]
    if not candidates:
        return None
    requested = _parse(version)
    path, used = max(candidates, key=lambda item: (_parse(item[1]).major == requested.major, _parse(item[1])))
    if used and _parse(used) == requested:
        return Tool(path)
    return Tool(path, _note(name, version, used or str(path)))


async def other_kustomize_note(kubectl: Path, version: str) -> str:
    """A sentence if the Kustomize in `kubectl` has another version than was requested."""
    if not version:
        return ""
    used = await _installed_version("kubectl", kubectl)
    return "" if used and _parse(used) == _parse(version) else _note("kustomize", version, used or "another")


def _note(name: str, version: str, used: str) -> str:
    return (
        f"{name.capitalize()} {version.removeprefix('v')} was requested and is not installed: {used} is used"
    )


def _versioned(name: str) -> Iterator[tuple[Path, str]]:
    """Programs on PATH whose names contain their versions, as `helm-3.16.4`."""
    for directory in dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)):
        for path in Path(directory or ".").glob(f"{name}-*"):
            found = _NUMBER.fullmatch(path.name.removeprefix(f"{name}-"))
            if found and os.access(path, os.X_OK):
                yield path, found[1]


def known_version(path: Path) -> str:
    """The version of a program that was asked for it before; empty if none was."""
    return next((version for (known, _), version in _versions.items() if known == str(path)), "")


async def _installed_version(name: str, path: Path) -> str:
    """The version that a program reports; empty if it reports none."""
    key = (str(path), path.stat().st_mtime_ns)
    if key not in _versions:
        try:
            with tempfile.TemporaryDirectory(prefix="pipecd-version-") as home:
                output = await process.capture(
                    [path, *_VERSION_COMMANDS[name]], env=environment(home), timeout=_VERSION_TIMEOUT
                )
        except (PipecdError, TimeoutError):
            return ""
        text = output.stdout.decode(errors="replace")
        # kubectl contains a Kustomize of its own version.
        text = text.partition('"kustomizeVersion"')[2] if name == "kubectl" else text
        found = _NUMBER.search(text)
        _versions[key] = found[1] if found else ""
    return _versions[key]


def _parse(version: str) -> Any:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")


def environment(home: str, **added: str) -> Mapping[str, str]:
    """For a program that may write caches and settings into the directory `home`.

    Without credentials, and not with the home directory of the agent's user, which may contain some.
    """
    passed = {name: os.environ[name] for name in (*_PASSED, *_PROXIES) if name in os.environ}
    directories = {
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/config",
        "XDG_CACHE_HOME": f"{home}/cache",
        "XDG_DATA_HOME": f"{home}/data",
    }
    return {**passed, **directories, **added}

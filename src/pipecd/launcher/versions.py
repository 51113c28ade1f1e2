"""Versions of the agent on this machine: each a set of wheels in an environment of its own.

An installed version is used as long as it is there. The launcher's own version needs no installing. What
was not finished, because the power went, is made anew.
"""

import asyncio
import importlib.metadata
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from packaging.requirements import Requirement

from pipecd.errors import ConfigError, Refused
from pipecd.launcher.desired import OWN_VERSION
from pipecd.launcher.release import Releases
from pipecd.process import run
from pipecd.secrets import without_login

log = structlog.get_logger()

PACKAGE = "pipecd"
#: So many are kept beside the one that is asked for, to fall back on.
KEPT = 3
_DONE = "installed.json"
#: Of the launcher's own environment, in which another one must not look for its modules.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")

Command = Sequence[str]


class Versions:
    def __init__(self, home: Path, releases: Releases, *, timeout: float) -> None:
        self._home, self._releases, self._timeout = home / "versions", releases, timeout

    async def command(self, version: str) -> Command:
        """How to start the agent in `version`, which is installed first if it is not there yet.

        Raises Refused, ConfigError or Temporary when it cannot be had.
        """
        if version == OWN_VERSION:
            return _agent(Path(sys.executable))
        if not self.installed(version):
            await self._install(version)
        return _agent(self._python(version))

    def installed(self, version: str) -> bool:
        return (self._home / version / _DONE).is_file()

    def keep(self, versions: Sequence[str], *, coming: str) -> None:
        """Removes what is neither among the first of `versions` nor about to run. What is half made stays."""
        wanted = {*versions[:KEPT], coming}
        with suppress(FileNotFoundError):
            for folder in self._home.iterdir():
                if folder.name not in wanted and self.installed(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)
                    log.info("old version removed", version=folder.name)

    async def _install(self, version: str) -> None:
        folder = self._home / version
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        wheels = folder / "wheels"
        wheels.mkdir(parents=True)
        log.info("installing", version=version)
        try:
            async with asyncio.timeout(self._timeout):
                where = await self._releases.fetch(version, wheels)
                await _tool("-m", "venv", "--without-pip", str(folder / "env"))
                await _tool(
                    *("-m", "pip", "--python", str(self._python(version)), "install"),
                    *("--no-input", "--disable-pip-version-check", "--quiet", "--only-binary", ":all:"),
                    *where,
                    f"{PACKAGE}{_extras()}=={version.removeprefix('v')}",
                )
        except TimeoutError:
            raise Refused(
                f"installing {version} takes longer than {self._timeout:g} s",
                remedy="look at the network and the size of the machine",
            ) from None
        shutil.rmtree(wheels)
        (folder / _DONE).write_text(json.dumps({"version": version}))

    def _python(self, version: str) -> Path:
        return self._home / version / "env" / "bin" / "python"


def environment() -> Mapping[str, str]:
    """What an agent inherits."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def _agent(python: Path) -> Command:
    # -P: modules come from the environment and not from wherever the launcher was started.
    return (str(python), "-P", "-m", PACKAGE, "piped")


async def _tool(*arguments: str) -> None:
    """Python with these arguments. Refused says what it said last."""
    said: list[str] = []
    ended = await run([sys.executable, *arguments], on_line=said.append, env=environment())
    if ended.code == 0:
        return
    if any("No module named pip" in line for line in said):
        raise ConfigError("pip is not installed beside the launcher", remedy="install it: pip install pip")
    errors = [line for line in said if line.startswith("ERROR")] or said[-1:] or ["it said nothing"]
    why = re.sub(r"^ERROR: ", "", without_login(errors[-1]))[:300]
    raise Refused(f"{arguments[1]} failed: {why}", remedy="look at --releases and the version's name")


def _extras() -> str:
    """The extras that the launcher itself was installed with, as `[aws,gcp]`."""
    metadata = importlib.metadata.metadata(PACKAGE)
    needs = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or ()]
    known = metadata.get_all("Provides-Extra") or []
    had = [extra for extra in known if _all_there([one for one in needs if _belongs(one, extra)])]
    return f"[{','.join(sorted(had))}]" if had else ""


def _belongs(need: Requirement, extra: str) -> bool:
    marker = need.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _all_there(needs: Sequence[Requirement]) -> bool:
    try:
        return bool(needs) and all(importlib.metadata.version(need.name) for need in needs)
    except importlib.metadata.PackageNotFoundError:
        return False

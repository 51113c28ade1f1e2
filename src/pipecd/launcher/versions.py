"""Installed versions of the agent, each in its own virtual environment.

An installed version is reused as long as it exists. The launcher's own version needs no installation. An
interrupted installation is repeated from the beginning.
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

from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.clock import timeout as clock_timeout
from pipecd.errors import ConfigError, Refused
from pipecd.launcher.desired import OWN_VERSION
from pipecd.launcher.release import Releases
from pipecd.process import run
from pipecd.secrets import strip_credentials

log = structlog.get_logger()

PACKAGE = "pipecd"
#: How many known good versions are kept as fallbacks.
MAX_FALLBACK_VERSIONS = 3
#: Written when an installation is complete.
_INSTALLED_MARKER = "installed.json"
#: Variables of the launcher's Python environment, not passed to agents: they must not import its modules.
_EXCLUDED_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")

Command = Sequence[str]


class Versions:
    def __init__(
        self, home: Path, releases: Releases, *, timeout: float, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`timeout` of an installation, in seconds."""
        self._home, self._releases = home / "versions", releases
        self._timeout, self._clock = timeout, clock

    async def command(self, version: str) -> Command:
        """The command that starts the agent in `version`, which is installed first if necessary.

        Raises Refused, ConfigError or Temporary if the version is unavailable.
        """
        if version == OWN_VERSION:
            return _agent_command(Path(sys.executable))
        if not self.is_installed(version):
            await self._install(version)
        return _agent_command(self._python(version))

    def is_installed(self, version: str) -> bool:
        return (self._home / version / _INSTALLED_MARKER).is_file()

    def remove_old(self, known_good: Sequence[str], *, upcoming: str) -> None:
        """Remove installed versions except the first of `known_good` and the `upcoming` one.

        Incomplete installations are not removed: one may be in progress.
        """
        retained = {*known_good[:MAX_FALLBACK_VERSIONS], upcoming}
        with suppress(FileNotFoundError):
            for directory in self._home.iterdir():
                if directory.name not in retained and self.is_installed(directory.name):
                    shutil.rmtree(directory, ignore_errors=True)
                    log.info("old_version_removed", version=directory.name)

    async def _install(self, version: str) -> None:
        directory = self._home / version
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        wheels = directory / "wheels"
        wheels.mkdir(parents=True)
        log.info("installing_version", version=version)
        try:
            async with clock_timeout(self._clock, self._timeout):
                pip_options = await self._releases.fetch(version, wheels)
                await _run_python("-m", "venv", "--without-pip", str(directory / "env"))
                await _run_python(
                    *("-m", "pip", "--python", str(self._python(version)), "install"),
                    *("--no-input", "--disable-pip-version-check", "--quiet", "--only-binary", ":all:"),
                    *pip_options,
                    f"{PACKAGE}{_installed_extras()}=={version.removeprefix('v')}",
                )
        except TimeoutError:
            raise Refused(
                f"installing {version} takes longer than {self._timeout:g} s",
                remedy="check the network and the size of the machine",
            ) from None
        shutil.rmtree(wheels)
        (directory / _INSTALLED_MARKER).write_text(json.dumps({"version": version}))

    def _python(self, version: str) -> Path:
        return self._home / version / "env" / "bin" / "python"


def agent_environment() -> Mapping[str, str]:
    """The environment variables an agent inherits."""
    return {name: value for name, value in os.environ.items() if name not in _EXCLUDED_VARIABLES}


def _agent_command(python: Path) -> Command:
    # -P: import modules from the environment, not from the launcher's current directory.
    return (str(python), "-P", "-m", PACKAGE, "piped")


async def _run_python(*arguments: str) -> None:
    """Run Python with these arguments. Raises Refused with the last error of its output."""
    output: list[str] = []
    result = await run([sys.executable, *arguments], on_line=output.append, env=agent_environment())
    if result.code == 0:
        return
    if any("No module named pip" in line for line in output):
        raise ConfigError(
            "pip is not installed in the launcher's environment", remedy="install it: pip install pip"
        )
    errors = [line for line in output if line.startswith("ERROR")] or output[-1:] or ["no output"]
    reason = re.sub(r"^ERROR: ", "", strip_credentials(errors[-1]))[:300]
    raise Refused(f"{arguments[1]} failed: {reason}", remedy="check --releases and the name of the version")


def _installed_extras() -> str:
    """The extras the launcher itself was installed with, as `[aws,gcp]`."""
    metadata = importlib.metadata.metadata(PACKAGE)
    requirements = [Requirement(text) for text in importlib.metadata.requires(PACKAGE) or ()]
    installed = [
        extra
        for extra in metadata.get_all("Provides-Extra") or []
        if _all_installed([requirement for requirement in requirements if _is_of_extra(requirement, extra)])
    ]
    return f"[{','.join(sorted(installed))}]" if installed else ""


def _is_of_extra(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def _all_installed(requirements: Sequence[Requirement]) -> bool:
    try:
        return bool(requirements) and all(
            importlib.metadata.version(requirement.name) for requirement in requirements
        )
    except importlib.metadata.PackageNotFoundError:
        return False

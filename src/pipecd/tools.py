"""Finds the external programs that platforms call."""

import shutil
from pathlib import Path

from pipecd.errors import ConfigError


def find(name: str, *, version: str = "", tools_dir: Path | None = None) -> Path | None:
    """Locate a tool's binary in `tools_dir`, then on PATH. None if it is not found.

    With a `version`, searches for `<name>-<version>` and raises ConfigError if that is missing: another
    version is not a substitute.
    """
    if version:
        versioned = f"{name}-{version.removeprefix('v')}"
        path = shutil.which(versioned, path=str(tools_dir)) if tools_dir else None
        path = path or shutil.which(versioned)
        if path is None:
            target = tools_dir or "a directory on PATH"
            raise ConfigError(
                f"{name} {version} is not installed", remedy=f"install it into {target} as {versioned}"
            )
        return Path(path)
    path = (shutil.which(name, path=str(tools_dir)) if tools_dir else None) or shutil.which(name)
    return Path(path) if path else None

"""Finding the programs that a platform calls."""

import shutil
from pathlib import Path

from pipecd.errors import ConfigError


def find(name: str, *, version: str = "", tools_dir: Path | None = None) -> Path | None:
    """The tool's binary: `<tools_dir>/<name>-<version>`, else `<name>` there or on PATH; None when not found.

    A version that was asked for and is not there raises ConfigError: another version is no stand-in.
    """
    if version:
        wanted = f"{name}-{version.removeprefix('v')}"
        found = shutil.which(wanted, path=str(tools_dir)) if tools_dir else None
        found = found or shutil.which(wanted)
        if found is None:
            place = tools_dir or "a directory on PATH"
            raise ConfigError(f"{name} {version} is not installed", remedy=f"put it into {place} as {wanted}")
        return Path(found)
    found = (shutil.which(name, path=str(tools_dir)) if tools_dir else None) or shutil.which(name)
    return Path(found) if found else None

"""State that outlives the launcher: its locked home directory, and the list of versions that worked."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipecd.json_input import decode_json
from pipecd.locked_directory import lock_directory


class KnownGoodVersions:
    """`versions` are the versions that became stable, most recent first."""

    def __init__(self, home: Path) -> None:
        self._file = home / "good.json"
        self.versions: Sequence[str] = _read(self._file)

    async def add(self, version: str) -> None:
        self.versions = (version, *(other for other in self.versions if other != version))
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        new_file = self._file.with_suffix(".new")
        new_file.write_text(json.dumps(list(self.versions)))
        new_file.rename(self._file)


def _read(file: Path) -> Sequence[str]:
    """The stored versions; none if the file is missing or truncated."""
    try:
        stored = decode_json(file.read_text())
    except (OSError, ValueError):
        return ()
    return (
        tuple(version for version in stored if isinstance(version, str)) if isinstance(stored, list) else ()
    )


def lock_home_directory(home: Path) -> AbstractContextManager[Path]:
    """Create and lock `home`. Raises ConfigError if it cannot be written or another launcher uses it."""
    return lock_directory(home, owner="the launcher", others="another launcher", mode=0o700)

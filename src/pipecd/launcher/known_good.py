"""What outlives the launcher: its folder, which one process uses at a time, and which versions worked."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipecd import locked_directory as folders


class Memory:
    """`good` are the versions that proved themselves, the last one first."""

    def __init__(self, home: Path) -> None:
        self._file = home / "good.json"
        self.good: Sequence[str] = _read(self._file)

    async def worked(self, version: str) -> None:
        self.good = (version, *(one for one in self.good if one != version))
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(list(self.good)))
        fresh.rename(self._file)


def _read(file: Path) -> Sequence[str]:
    """Nothing when the file is not there or was cut off: then every version must prove itself anew."""
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return ()
    return tuple(one for one in known if isinstance(one, str)) if isinstance(known, list) else ()


def own_folder(home: Path) -> AbstractContextManager[Path]:
    """Raises ConfigError when it cannot be written, or another launcher works there."""
    return folders.own_folder(home, owner="the launcher", others="another launcher", mode=0o700)

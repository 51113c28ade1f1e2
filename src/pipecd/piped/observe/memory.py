"""Stores what platforms remember in the agent's folder, so that a restart is cheap. Losing it costs time."""

import asyncio
import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

import structlog

from pipecd.platforms import Memory

log = structlog.get_logger()

#: Between two writes (seconds), if something changed.
INTERVAL = 30.0
#: Of one platform's memory (bytes). A larger one is not read.
MAX_SIZE = 64 * 1024 * 1024


class PlatformMemories:
    """`memories` by the name of the kind."""

    def __init__(self, folder: Path, memories: Mapping[str, Memory]) -> None:
        self._folder, self._memories = folder, memories
        #: Digests of what is in the files.
        self._stored: dict[str, bytes] = {}

    async def load(self) -> None:
        """Gives the platforms what an earlier process saved."""
        for name, memory in self._memories.items():
            content = await asyncio.to_thread(_read, self._folder / name.lower())
            if content:
                self._stored[name] = _digest(content)
                await asyncio.to_thread(memory.load, content)

    async def save(self) -> None:
        """Writes what changed. A full disk is logged, and stops nothing."""
        for name, memory in self._memories.items():
            content = await asyncio.to_thread(memory.dump)
            digest = await asyncio.to_thread(_digest, content)
            if digest == self._stored.get(name):
                continue
            try:
                await asyncio.to_thread(_write, self._folder / name.lower(), content)
            except OSError as error:
                log.warning("platform_memory_not_saved", platform=name, error=error.strerror)
            else:
                self._stored[name] = digest


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _read(path: Path) -> bytes:
    try:
        decompressor = zlib.decompressobj()
        return decompressor.decompress(path.read_bytes(), MAX_SIZE)
    except (OSError, zlib.error):
        return b""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(zlib.compress(content, 1))
    temporary.replace(path)

"""Keeps the desired states of applications packed, up to a limit in bytes. Used by `desired_state`.

Unpacked, the rendered files of a thousand applications take hundreds of megabytes. Packed they take a few
percent of that; the least recently used ones are dropped, and are rendered again when needed.
"""

import asyncio
import pickle
import zlib
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import structlog

log = structlog.get_logger()

#: Speed matters more than size: most checks unpack a value.
_COMPRESSION_LEVEL = 1


class DesiredStateCache:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        #: By application: the digest of what the value was made of, and the packed value. Last used last.
        self._packed: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all packed values."""
        return self._size

    async def load(self, application_id: str, digest: bytes) -> tuple[Any, ...] | None:
        """The value that was stored with this digest; None if it is not stored."""
        stored = self._packed.get(application_id)
        if stored is None or stored[0] != digest:
            return None
        self._packed.move_to_end(application_id)
        value: tuple[Any, ...] = await asyncio.to_thread(_unpack, stored[1])
        return value

    async def store(self, application_id: str, digest: bytes, value: tuple[Any, ...]) -> None:
        """Replaces the application's value. A value that cannot be packed, or is too large, is not stored."""
        self.drop(application_id)
        try:
            packed = await asyncio.to_thread(_pack, value)
        except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
            # A platform may have values that cannot be pickled; they are rendered each time.
            log.debug("desired_state_not_stored", application=application_id, error=repr(error))
            return
        if len(packed) > self._max_bytes:
            log.debug("desired_state_not_stored", application=application_id, size=len(packed))
            return
        self.drop(application_id)
        self._packed[application_id] = (digest, packed)
        self._size += len(packed)
        while self._size > self._max_bytes:
            self.drop(next(iter(self._packed)))

    def drop(self, application_id: str) -> None:
        if stored := self._packed.pop(application_id, None):
            self._size -= len(stored[1])

    def prune(self, applications: Collection[str]) -> None:
        """Drops the values of applications whose id is not in `applications`."""
        for application_id in [key for key in self._packed if key not in applications]:
            self.drop(application_id)


def _pack(value: tuple[Any, ...]) -> bytes:
    return zlib.compress(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), _COMPRESSION_LEVEL)


def _unpack(packed: bytes) -> tuple[Any, ...]:
    # Packed by this process, and never outside its memory.
    value: tuple[Any, ...] = pickle.loads(zlib.decompress(packed))
    return value

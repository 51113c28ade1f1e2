"""Bytes that stages keep between their calls, with the control plane: it stores them and cannot read them.

Sealed with a key that only agents of this piped can make, so that a plan's secrets stay in the agent's own
environment. Large ones travel in parts. A control plane that cannot keep them (PipeCD before 0.53) leaves
them on the agent's own disk, where another agent does not find them. Called by `perform` for stages.
"""

import asyncio
import os
import struct
from hashlib import sha256
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipecd.client import Client
from pipecd.errors import NotFound, Refused, Unsupported
from pipecd.schema.agent.objects_pb2 import (
    GetApplicationSharedObjectRequest,
    PutApplicationSharedObjectRequest,
)

log = structlog.get_logger()

_PLUGIN = "pipecd"
#: gRPC takes messages of 4 MiB.
PART = 3 * 1024 * 1024
_NONCE = 12


class Kept:
    """`piped_key` is the agent's key; a new one cannot open what the old one sealed.

    `folder` is where things stay that the control plane cannot keep.
    """

    def __init__(self, client: Client, piped_key: str, folder: Path) -> None:
        self._client, self._folder = client, folder
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"pipecd kept objects")
        self._aead = AESGCM(derived.derive(piped_key.encode()))

    async def keep(self, application_id: str, name: str, data: bytes) -> None:
        """Replaces what was kept under `name`. The first part goes last: it tells how many there are."""
        nonce = os.urandom(_NONCE)
        place = f"{application_id}/{name}".encode()
        sealed = nonce + await asyncio.to_thread(self._aead.encrypt, nonce, data, place)
        parts = [sealed[start : start + PART] for start in range(0, len(sealed), PART)]
        for number in reversed(range(len(parts))):
            content = parts[number]
            if number == 0:
                content = struct.pack(">I", len(parts)) + content
            await self._put(application_id, f"{name}.{number}", content)

    async def kept(self, application_id: str, name: str) -> bytes:
        """Raises NotFound, or Refused when it cannot be opened."""
        first = await self._part(application_id, name, 0)
        (count,) = struct.unpack(">I", first[:4])
        rest = [await self._part(application_id, name, number) for number in range(1, count)]
        sealed = first[4:] + b"".join(rest)
        place = f"{application_id}/{name}".encode()
        try:
            return await asyncio.to_thread(self._aead.decrypt, sealed[:_NONCE], sealed[_NONCE:], place)
        except InvalidTag:
            raise Refused(
                f"what was kept as {name} cannot be opened: the agent's key was replaced meanwhile",
                remedy="sync the application again",
            ) from None

    async def _put(self, application_id: str, key: str, content: bytes) -> None:
        request = PutApplicationSharedObjectRequest(
            application_id=application_id, plugin_name=_PLUGIN, key=key, object=content
        )
        try:
            await self._client.call(self._client.piped.PutApplicationSharedObject, request)
        except Unsupported:
            log.info("kept on this disk: the control plane is too old to keep it", object=key)
            await asyncio.to_thread(self._write, application_id, key, content)

    async def _part(self, application_id: str, name: str, number: int) -> bytes:
        key = f"{name}.{number}"
        request = GetApplicationSharedObjectRequest(
            application_id=application_id, plugin_name=_PLUGIN, key=key
        )
        try:
            answer = await self._client.call(self._client.piped.GetApplicationSharedObject, request)
        except Unsupported:
            return await asyncio.to_thread(self._read, application_id, key)
        return bytes(answer.object)

    def _write(self, application_id: str, key: str, content: bytes) -> None:
        file = self._file(application_id, key)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(file)

    def _read(self, application_id: str, key: str) -> bytes:
        try:
            return self._file(application_id, key).read_bytes()
        except FileNotFoundError:
            raise NotFound(key) from None

    def _file(self, application_id: str, key: str) -> Path:
        """Ids come from outside: none may lead out of the folder."""
        return self._folder / sha256(f"{application_id}/{key}".encode()).hexdigest()

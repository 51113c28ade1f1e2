"""Bytes that stages keep between their calls, with the control plane: it stores them and cannot read them.

Sealed with a key that only agents of this piped can make, so that a plan's secrets stay in the agent's own
environment. Large ones travel in parts. Called by `perform` on behalf of stages.
"""

import asyncio
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipecd.client import Client
from pipecd.errors import Refused
from pipecd.schema.agent.objects_pb2 import (
    GetApplicationSharedObjectRequest,
    PutApplicationSharedObjectRequest,
)

_PLUGIN = "pipecd"
#: gRPC takes messages of 4 MiB.
PART = 3 * 1024 * 1024
_NONCE = 12


class Kept:
    """`piped_key` is the agent's key; a new one cannot open what the old one sealed."""

    def __init__(self, client: Client, piped_key: str) -> None:
        self._client = client
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
            request = PutApplicationSharedObjectRequest(
                application_id=application_id, plugin_name=_PLUGIN, key=f"{name}.{number}", object=content
            )
            await self._client.call(self._client.piped.PutApplicationSharedObject, request)

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

    async def _part(self, application_id: str, name: str, number: int) -> bytes:
        request = GetApplicationSharedObjectRequest(
            application_id=application_id, plugin_name=_PLUGIN, key=f"{name}.{number}"
        )
        answer = await self._client.call(self._client.piped.GetApplicationSharedObject, request)
        return bytes(answer.object)

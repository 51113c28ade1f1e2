"""Encrypted storage for stages. Objects are encrypted before upload; the control plane cannot read them.

The key is derived from the piped key, so secrets in a stored plan are readable only by agents of this piped.
Large objects are split into parts. If the control plane has no object storage (PipeCD before 0.53), objects
are stored on the agent's local disk, where another agent does not find them. Called by `perform` for stages.
"""

import asyncio
import os
import struct
from dataclasses import dataclass
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

_PLUGIN_NAME = "pipecd"
#: In bytes; gRPC messages are limited to 4 MiB.
MAX_PART_SIZE = 3 * 1024 * 1024
_NONCE_SIZE = 12


class EncryptedObjects:
    """`piped_key` is the agent's key; objects encrypted under an earlier key cannot be decrypted.

    `directory` holds objects that the control plane cannot store.
    """

    def __init__(self, client: Client, piped_key: str, directory: Path) -> None:
        self._client, self._directory = client, directory
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"pipecd kept objects")
        self._aead = AESGCM(derived.derive(piped_key.encode()))

    def of_application(self, application_id: str) -> "ApplicationStorage":
        return ApplicationStorage(self, application_id)

    async def store(self, application_id: str, name: str, data: bytes) -> None:
        """Replaces the object `name`. The first part, which holds the number of parts, is written last."""
        nonce = os.urandom(_NONCE_SIZE)
        associated_data = f"{application_id}/{name}".encode()
        encrypted = nonce + await asyncio.to_thread(self._aead.encrypt, nonce, data, associated_data)
        parts = [
            encrypted[start : start + MAX_PART_SIZE] for start in range(0, len(encrypted), MAX_PART_SIZE)
        ]
        for number in reversed(range(len(parts))):
            content = parts[number]
            if number == 0:
                content = struct.pack(">I", len(parts)) + content
            await self._put(application_id, f"{name}.{number}", content)

    async def load(self, application_id: str, name: str) -> bytes:
        """Raises NotFound, or Refused if the object cannot be decrypted."""
        first = await self._part(application_id, name, 0)
        (count,) = struct.unpack(">I", first[:4])
        rest = [await self._part(application_id, name, number) for number in range(1, count)]
        encrypted = first[4:] + b"".join(rest)
        associated_data = f"{application_id}/{name}".encode()
        try:
            return await asyncio.to_thread(
                self._aead.decrypt, encrypted[:_NONCE_SIZE], encrypted[_NONCE_SIZE:], associated_data
            )
        except InvalidTag:
            raise Refused(
                f"the stored object {name} cannot be decrypted: the agent's key was replaced",
                remedy="sync the application again",
            ) from None

    async def _put(self, application_id: str, key: str, content: bytes) -> None:
        request = PutApplicationSharedObjectRequest(
            application_id=application_id, plugin_name=_PLUGIN_NAME, key=key, object=content
        )
        try:
            await self._client.call(self._client.piped.PutApplicationSharedObject, request)
        except Unsupported:
            log.info("object_stored_locally", object=key, reason="the control plane has no object storage")
            await asyncio.to_thread(self._write, application_id, key, content)

    async def _part(self, application_id: str, name: str, number: int) -> bytes:
        key = f"{name}.{number}"
        request = GetApplicationSharedObjectRequest(
            application_id=application_id, plugin_name=_PLUGIN_NAME, key=key
        )
        try:
            response = await self._client.call(self._client.piped.GetApplicationSharedObject, request)
        except Unsupported:
            return await asyncio.to_thread(self._read, application_id, key)
        return bytes(response.object)

    def _write(self, application_id: str, key: str, content: bytes) -> None:
        file = self._file(application_id, key)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        new_file = file.with_suffix(".new")
        new_file.write_bytes(content)
        new_file.replace(file)

    def _read(self, application_id: str, key: str) -> bytes:
        try:
            return self._file(application_id, key).read_bytes()
        except FileNotFoundError:
            raise NotFound(key) from None

    def _file(self, application_id: str, key: str) -> Path:
        """The name is hashed: ids come from outside and must not escape the directory."""
        return self._directory / sha256(f"{application_id}/{key}".encode()).hexdigest()


@dataclass(frozen=True)
class ApplicationStorage:
    """The objects of one application (implements `model.stage.Storage`)."""

    objects: EncryptedObjects
    application_id: str

    async def store(self, name: str, data: bytes) -> None:
        await self.objects.store(self.application_id, name, data)

    async def load(self, name: str) -> bytes:
        return await self.objects.load(self.application_id, name)

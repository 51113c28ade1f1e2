"""Creates, hashes and verifies the random keys of agents and API clients.

A key has at least 256 bits of entropy, so it needs no slow hash; PipeCD's bcrypt hashes are accepted too. A
verified key is cached in this process as a keyed digest together with the stored hash that it matched: later
checks take microseconds, and deleting the stored hash revokes the key despite the cache.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import uuid4
from weakref import WeakValueDictionary

import bcrypt

from pipecd.bounded_dict import BoundedDict
from pipecd.controlplane.auth.slow_hashes import SlowHashes
from pipecd.errors import Refused, Unauthenticated
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.piped_pb2 import PipedKey

_ALPHABET = string.ascii_lowercase + string.digits
#: Characters in a key: 50 characters from an alphabet of 36 have 258 bits.
LENGTH = 50
_SCHEME = "sha256$"
_MAX_VERIFIED = 20_000
#: bcrypt ignores input beyond this many bytes, and newer libraries reject it.
_BCRYPT_BYTES = 72
#: Each takes 0.05 s. After a restart, all agents with keys of PipeCD wait for one.
_hashes = SlowHashes("keys", threads=os.cpu_count() or 1, max_waiting=10_000)


def new_piped_key() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


def new_api_key() -> tuple[str, str]:
    """The ID of the key, and the key itself, which is shown once: `<id>.<secret>`."""
    key_id = str(uuid4())
    return key_id, f"{key_id}.{new_piped_key()}"


@dataclass(frozen=True, kw_only=True)
class KeyLifetimes:
    """The longest lifetimes of new keys, in seconds; 0 means that they need not expire."""

    api_key: int = 0
    piped_key: int = 0


def expires_at(now: int, lifetime: int, longest: int) -> int:
    """When a key expires that is created now (epoch seconds); 0 means never.

    `lifetime` is the requested one; 0 means the longest allowed. Raises Refused if it is too long.
    """
    if longest and lifetime > longest:
        raise Refused(
            f"the key would be valid for {lifetime} s; at most {longest} s are allowed",
            remedy="choose a shorter lifetime, or raise the limit under spec.keys of the control plane",
            field="key_lifetime",
        )
    return now + (lifetime or longest) if lifetime or longest else 0


def is_expired(record: APIKey | PipedKey, now: int) -> bool:
    return 0 < record.expires_at <= now


def hash_key(key: str) -> str:
    """Salted SHA-256 hash of `key`, as it is stored."""
    salt = secrets.token_hex(16)
    return f"{_SCHEME}{salt}${_digest(salt, key)}"


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}${key}".encode()).hexdigest()


class Keys:
    """Verifies keys against stored hashes."""

    def __init__(self, hashes: SlowHashes = _hashes) -> None:
        self._hashes = hashes
        self._secret = secrets.token_bytes(32)
        self._verified = BoundedDict[bytes, str](_MAX_VERIFIED)
        #: Held while the key with this digest is checked: calls at the same time cost one bcrypt hash.
        self._turns = WeakValueDictionary[bytes, asyncio.Lock]()

    async def check(self, key: str, hashes: Iterable[str]) -> str:
        """The hash among the stored `hashes` that `key` matches. Raises Unauthenticated if none does.

        Raises Temporary if too many keys are being checked.
        """
        stored = tuple(hashes)
        # Unlike HMAC, whose start costs more than the rest of authentication.
        digest = hashlib.blake2b(key.encode(), key=self._secret, digest_size=32).digest()
        if verified := self._find_verified(digest, stored):
            return verified
        async with self._turns.setdefault(digest, asyncio.Lock()):
            if verified := self._find_verified(digest, stored):
                return verified
            for candidate in stored:
                if await self._matches(key, candidate):
                    self._verified[digest] = candidate
                    return candidate
        raise Unauthenticated("the key is wrong or has been replaced")

    def _find_verified(self, digest: bytes, stored: tuple[str, ...]) -> str | None:
        verified = self._verified.get(digest)
        return verified if verified in stored else None

    async def _matches(self, key: str, stored: str) -> bool:
        if stored.startswith(_SCHEME):
            salt, _, digest = stored.removeprefix(_SCHEME).partition("$")
            return hmac.compare_digest(_digest(salt, key), digest)
        raw = key.encode()
        if len(raw) > _BCRYPT_BYTES:
            return False
        try:
            return await self._hashes.run(bcrypt.checkpw, raw, stored.encode())
        except ValueError:
            return False

"""Long random keys of agents and programs: made, hashed once, looked up cheaply after that.

A key has 256 bits or more, so it needs no slow hash against guessing; PipeCD's bcrypt hashes are read
too. A key that was found good is remembered in this process as a keyed digest beside the stored hash
that it fitted: the next call costs microseconds, and a hash that is no longer stored is worth nothing.
"""

import asyncio
import hashlib
import hmac
import secrets
import string
from collections import OrderedDict
from collections.abc import Iterable
from uuid import uuid4

import bcrypt

from pipecd.errors import Unauthenticated

_LETTERS = string.ascii_lowercase + string.digits
#: 50 letters of 36 are 258 bits.
LENGTH = 50
_SCHEME = "sha256$"
_REMEMBERED = 20_000
#: Of bcrypt's input only this many bytes count, and newer libraries refuse more.
_BCRYPT_BYTES = 72


def new_piped_key() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))


def new_api_key() -> tuple[str, str]:
    """The id of the key, and the key that is shown once: `<id>.<secret>`."""
    key_id = str(uuid4())
    return key_id, f"{key_id}.{new_piped_key()}"


def hashed(key: str) -> str:
    """What is stored: salted, and no way back."""
    salt = secrets.token_hex(16)
    return f"{_SCHEME}{salt}${_digest(salt, key)}"


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}${key}".encode()).hexdigest()


class Keys:
    """Checks keys against stored hashes."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, str] = OrderedDict()

    async def check(self, key: str, hashes: Iterable[str]) -> str:
        """The one of the stored `hashes` that `key` fits. Raises Unauthenticated when it fits none."""
        stored = tuple(hashes)
        digest = hmac.digest(self._secret, key.encode(), "sha256")
        known = self._good.get(digest)
        if known is not None and known in stored:
            return known
        for candidate in stored:
            if await _fits(key, candidate):
                self._remember(digest, candidate)
                return candidate
        raise Unauthenticated("the key is wrong, or was replaced")

    def _remember(self, digest: bytes, stored: str) -> None:
        self._good[digest] = stored
        while len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


async def _fits(key: str, stored: str) -> bool:
    if stored.startswith(_SCHEME):
        salt, _, digest = stored.removeprefix(_SCHEME).partition("$")
        return hmac.compare_digest(_digest(salt, key), digest)
    raw = key.encode()
    if len(raw) > _BCRYPT_BYTES:
        return False
    try:
        return await asyncio.to_thread(bcrypt.checkpw, raw, stored.encode())
    except ValueError:
        return False

"""Hashes and verifies user passwords: argon2, and bcrypt for hashes created by PipeCD."""

import base64
import os
import secrets

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pipecd.controlplane.auth.slow_hashes import SlowHashes
from pipecd.errors import Refused

_hasher = PasswordHasher()
_BCRYPT_BYTES = 72
#: A hash takes 0.1 s and 64 MiB, so that the last one waits for some ten seconds. As anyone may guess
#: passwords, half of the cores are left for those who have signed in, and for agents.
_hashes = SlowHashes("passwords", threads=max(1, (os.cpu_count() or 1) // 2), max_waiting=100)
#: Of new passwords, in characters. Sign-ins are limited, so that longer ones cannot be guessed.
MIN_LENGTH = 8


def _random_hash() -> str:
    """A hash of no known password, with the parameters of new hashes, which cost 0.1 s of CPU time."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (_hasher.salt_len, _hasher.hash_len)
    )
    costs = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"


#: Verified for unknown users, so that the response takes equally long.
DUMMY_HASH = _random_hash()


def hash_password(password: str) -> str:
    """The hash of a new password. Raises Refused if it is too short."""
    if len(password) < MIN_LENGTH:
        raise Refused(
            f"the password has fewer than {MIN_LENGTH} characters",
            remedy="choose a longer one",
            field="password",
        )
    return _hasher.hash(password)


async def verify_password(password: str, stored: str) -> bool:
    """Whether `password` matches the hash `stored`. Slow by design; runs in a thread. Raises Temporary."""
    return await _hashes.run(_verify, password, stored)


def _verify(password: str, stored: str) -> bool:
    if stored.startswith("$argon2"):
        try:
            return _hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False
    raw = password.encode()
    try:
        return len(raw) <= _BCRYPT_BYTES and bcrypt.checkpw(raw, stored.encode())
    except ValueError:
        return False

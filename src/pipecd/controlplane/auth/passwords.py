"""Hashes and verifies user passwords: argon2, and bcrypt for hashes created by PipeCD."""

import asyncio
import secrets

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
#: Hash of a random password, verified for unknown users so that the response takes equally long.
DUMMY_HASH = _hasher.hash(secrets.token_urlsafe(32))
_BCRYPT_BYTES = 72


def hash_password(password: str) -> str:
    return _hasher.hash(password)


async def verify_password(password: str, stored: str) -> bool:
    """Whether `password` matches the hash `stored`. Slow by design; runs in a thread."""
    return await asyncio.to_thread(_verify, password, stored)


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

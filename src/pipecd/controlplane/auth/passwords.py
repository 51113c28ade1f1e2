"""People's passwords: argon2, and bcrypt where a hash of PipeCD's is stored."""

import asyncio
import secrets

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
#: Nobody's password. Checked when there is no such user, so that both answers take as long.
NOBODY = _hasher.hash(secrets.token_urlsafe(32))
_BCRYPT_BYTES = 72


def hash_password(password: str) -> str:
    return _hasher.hash(password)


async def fits(password: str, stored: str) -> bool:
    """Whether `password` is what `stored` was made of. Slow on purpose, and off the event loop."""
    return await asyncio.to_thread(_fits, password, stored)


def _fits(password: str, stored: str) -> bool:
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

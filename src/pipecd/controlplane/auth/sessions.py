"""Sessions of the console: a signed token in a cookie, readable and writable in PipeCD's format.

`http.login` issues them, `rpc.identity` reads them. Nothing is stored: a session ends when it expires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import jwt

from pipecd.errors import ConfigError, Unauthenticated

COOKIE = "token"
LIFETIME = timedelta(days=7)
_ISSUER = "PipeCD"
_ALGORITHM = "HS256"
#: Fewer bytes could be guessed.
SHORTEST_KEY = 32


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a token says: who, in which project, with which roles' names."""

    project_id: str
    username: str
    roles: Sequence[str]
    avatar_url: str = ""


class Sessions:
    """Signs and checks with the bytes of the encryption key file."""

    def __init__(self, key: bytes) -> None:
        if len(key) < SHORTEST_KEY:
            raise ConfigError(
                f"the encryption key has {len(key)} bytes, fewer than {SHORTEST_KEY}",
                remedy="make one with `openssl rand -base64 64` and pass it by --encryption-key-file",
            )
        self._key = key

    def issue(self, session: Session, now: float, lifetime: timedelta = LIFETIME) -> str:
        issued = int(now)
        claims = {
            "iss": _ISSUER,
            "sub": session.username,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(lifetime.total_seconds()),
            "avatarUrl": session.avatar_url,
            "role": {"project_id": session.project_id, "project_rbac_roles": list(session.roles)},
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Session:
        """Raises Unauthenticated when the token is not ours, or over."""
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], issuer=_ISSUER, options={"require": ["exp", "sub"]}
            )
            role = claims["role"]
            return Session(
                project_id=str(role["project_id"]),
                username=str(claims["sub"]),
                roles=tuple(str(name) for name in role.get("project_rbac_roles") or ()),
                avatar_url=str(claims.get("avatarUrl", "")),
            )
        except (jwt.InvalidTokenError, KeyError, TypeError, AttributeError):
            raise Unauthenticated("the session is over or not valid; sign in again") from None

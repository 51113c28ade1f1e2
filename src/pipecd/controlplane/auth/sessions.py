"""Console sessions: a signed JSON Web Token in a cookie, in PipeCD's format.

`http.login` issues them, `rpc.identity` verifies them. Sessions are not stored; they end when they expire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from pipecd.clock import Clock
from pipecd.errors import ConfigError, Unauthenticated

COOKIE = "token"
_ISSUER = "PipeCD"
_ALGORITHM = "HS256"
#: Times are compared with the clock of the program, not by the library.
_DECODE_OPTIONS: jwt.types.Options = {
    "require": ["exp", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
#: Minimum length of the signing key, in bytes; shorter keys could be guessed.
MIN_KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Session:
    """The claims of a token: the user, the project and the names of the user's roles."""

    project_id: str
    username: str
    roles: Sequence[str]
    avatar_url: str = ""


class Sessions:
    """Signs and verifies tokens with the contents of the encryption key file. `lifetime` is in seconds."""

    def __init__(self, key: bytes, clock: Clock, lifetime: int) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ConfigError(
                f"the encryption key has {len(key)} bytes; at least {MIN_KEY_BYTES} are required",
                remedy="create one with `openssl rand -base64 64` and pass it with --encryption-key-file",
            )
        self._key, self._clock, self.lifetime = key, clock, lifetime

    def issue(self, session: Session) -> str:
        issued = int(self._clock.now())
        claims = {
            "iss": _ISSUER,
            "sub": session.username,
            "iat": issued,
            "nbf": issued,
            "exp": issued + self.lifetime,
            "avatarUrl": session.avatar_url,
            "role": {"project_id": session.project_id, "project_rbac_roles": list(session.roles)},
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Session:
        """Verify `token`. Raises Unauthenticated if it is invalid or has expired."""
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], issuer=_ISSUER, options=_DECODE_OPTIONS
            )
            if not float(claims.get("nbf", 0)) <= self._clock.now() < float(claims["exp"]):
                raise jwt.ExpiredSignatureError
            role = claims["role"]
            return Session(
                project_id=str(role["project_id"]),
                username=str(claims["sub"]),
                roles=tuple(str(name) for name in role.get("project_rbac_roles") or ()),
                avatar_url=str(claims.get("avatarUrl", "")),
            )
        except (jwt.InvalidTokenError, KeyError, TypeError, AttributeError, ValueError, OverflowError):
            raise Unauthenticated("the session is invalid or has expired; sign in again") from None

"""A signed cookie that says that a browser has signed in as a user with the right password before.

`http.login` sets it after a successful sign-in, and `http.throttle` counts the failures of such a browser
apart from those of other browsers. It gives no access.
"""

import hashlib
import secrets

import jwt

from pipecd.clock import Clock

#: Of the cookie, in seconds.
LIFETIME = 180 * 24 * 3600
_ALGORITHM = "HS256"


class KnownBrowsers:
    """`key` is the encryption key. Cookies are signed with a key that is derived from it."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = hashlib.sha256(b"known browser\0" + key).digest()
        self._clock = clock

    def cookie_name(self, project_id: str, username: str) -> str:
        """A browser has one cookie for each user that has signed in with it."""
        return f"browser-{_digest(project_id, username)[:16]}"

    def read(self, cookie: str, project_id: str, username: str) -> str:
        """The id of the browser, or an empty string if the cookie is not one of this user."""
        try:
            claims = jwt.decode(
                cookie,
                self._key,
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "sub", "jti"], "verify_exp": False},
            )
            valid = claims["sub"] == _digest(project_id, username) and self._clock.now() < float(
                claims["exp"]
            )
            return str(claims["jti"]) if valid else ""
        except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError):
            return ""

    def issue(self, project_id: str, username: str, id: str = "") -> str:
        """The cookie of a browser that keeps its `id`, or gets a new one."""
        claims = {
            "sub": _digest(project_id, username),
            "jti": id or secrets.token_urlsafe(16),
            "exp": int(self._clock.now()) + LIFETIME,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)


def _digest(project_id: str, username: str) -> str:
    return hashlib.sha256(f"{project_id}\0{username}".encode()).hexdigest()

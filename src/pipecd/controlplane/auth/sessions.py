"""Console sessions: a signed JSON Web Token in a cookie, in PipeCD's format.

`http.login` starts and ends them, `rpc.identity` verifies them with each call. A session ends when it
expires, when its user signs out, and when the credential that it was started with no longer is the user's: a
changed password, or another provider of single sign-on, ends the sessions that were started before. Only the
ids of sessions that ended early are stored, until they would have expired.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from pipecd.clock import Clock
from pipecd.config.sso import MAX_SESSION_HOURS
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.audit import Subject
from pipecd.controlplane.store.kinds import ENDED_SESSION
from pipecd.errors import ConfigError, Unauthenticated
from pipecd.model.actor import Actor

COOKIE = "token"
_ISSUER = "PipeCD"
_ALGORITHM = "HS256"
#: Times are compared with the clock of the program, not by the library.
_DECODE_OPTIONS: jwt.types.Options = {
    "require": ["exp", "sub", "jti"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
#: Minimum length of the signing key, in bytes; shorter keys could be guessed.
MIN_KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Session:
    """The claims of a token: the user, the project and the names of the user's roles.

    `credential` identifies what the session was started with: the static admin's password, or the provider of
    single sign-on. `groups`: the user's groups that have a role. `lifetime` in seconds; 0 means the default.
    `id` and `expires_at` (epoch seconds) are set by `Sessions`.
    """

    project_id: str
    username: str
    roles: Sequence[str]
    avatar_url: str = ""
    credential: str = ""
    groups: Sequence[str] = ()
    lifetime: int = 0
    id: str = ""
    expires_at: float = 0.0


def check_key(key: bytes) -> None:
    """Raises ConfigError if the encryption key is too short."""
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"the encryption key has {len(key)} bytes; at least {MIN_KEY_BYTES} are required",
            remedy="create one with `openssl rand -base64 64` and pass it with --encryption-key-file",
        )


class Sessions:
    """Signs and verifies tokens with `key`, the contents of the encryption key file."""

    def __init__(self, key: bytes, store: Store, clock: Clock, settings: AuthSettings) -> None:
        check_key(key)
        self._key, self._store, self._clock, self._settings = key, store, clock, settings
        #: Id of a session that had not ended → when that was read (monotonic seconds).
        self._active: dict[str, float] = {}

    @property
    def lifetime(self) -> int:
        """In seconds."""
        return self._settings.session_lifetime

    def issue(self, session: Session) -> str:
        """A token for a new session."""
        issued = int(self._clock.now())
        claims = {
            "iss": _ISSUER,
            "sub": session.username,
            "jti": secrets.token_urlsafe(24),
            "iat": issued,
            "nbf": issued,
            "exp": issued + (session.lifetime or self.lifetime),
            "avatarUrl": session.avatar_url,
            "role": {"project_id": session.project_id, "project_rbac_roles": list(session.roles)},
            "credential": session.credential,
            "groups": list(session.groups),
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Session:
        """Verify the signature of `token`. Raises Unauthenticated if it is invalid or has expired."""
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
                credential=str(claims.get("credential", "")),
                groups=tuple(str(group) for group in claims.get("groups") or ()),
                id=str(claims["jti"]),
                expires_at=float(claims["exp"]),
            )
        except (jwt.InvalidTokenError, KeyError, TypeError, AttributeError, ValueError, OverflowError):
            raise Unauthenticated("the session is invalid or has expired; sign in again") from None

    async def check(self, session: Session) -> None:
        """Raises Unauthenticated if the session has expired or was ended.

        Another replica may have ended it up to `credential_max_age` seconds ago.
        """
        if self._clock.now() >= session.expires_at:
            raise Unauthenticated("the session has expired; sign in again")
        checked_at = self._active.get(session.id)
        now = self._clock.monotonic()
        if checked_at is not None and now - checked_at < self._settings.credential_max_age:
            return
        if await self._store.get_metadata(ENDED_SESSION, session.id):
            self._active.pop(session.id, None)
            raise Unauthenticated("you have signed out; sign in again")
        if len(self._active) >= self._settings.max_credentials:
            self._active.clear()
        self._active[session.id] = now

    async def end(self, session: Session, *, by: Actor) -> None:
        """End the session for good. Its open streams end too."""
        record = Subject(kind="session", id=session.id, project_id=session.project_id)
        await self._store.record_action("delete", record, {"username": session.username}, by=by)
        await self._store.put_metadata(ENDED_SESSION, session.id, session.project_id, b"", by=by)
        self._active.pop(session.id, None)

    async def record_start(self, token: str, *, by: Actor) -> None:
        """Record in the audit log that the session of `token` was started."""
        session = self.read(token)
        record = Subject(kind="session", id=session.id, project_id=session.project_id)
        after = {"username": session.username, "roles": ", ".join(session.roles)}
        await self._store.record_action("create", record, after, by=by)

    async def prune(self) -> None:
        """Delete the ids of ended sessions that would have expired by now."""
        longest = max(self.lifetime, MAX_SESSION_HOURS * 3600)
        await self._store.prune_metadata(ENDED_SESSION, self._clock.now() - longest)

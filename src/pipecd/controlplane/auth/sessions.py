"""Console sessions: a signed JSON Web Token in a cookie, in PipeCD's format, and a row in the database.

`http.login` starts and ends them, `rpc.identity` checks them with each call, `rpc.sessions` lists them. A
session ends when it expires, when it was not used for some time, when its user signs out or an administrator
ends it, and when the credential that it was started with no longer is the user's: a changed password, or
another provider of single sign-on, ends the sessions that were started before.
"""

import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store, sessions
from pipecd.controlplane.store.feed import RESYNC
from pipecd.errors import ConfigError, Temporary, Unauthenticated
from pipecd.model.actor import Actor
from pipecd.printable import printable

log = structlog.get_logger()

COOKIE = "token"
#: How a user signed in.
PASSWORD, GITHUB, OIDC = "PASSWORD", "GITHUB", "OIDC"
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
#: What is stored of the header `User-Agent`, in characters.
_MAX_USER_AGENT = 300
_ENDED = "the session has ended; sign in again"


@dataclass(frozen=True, kw_only=True)
class Session:
    """The claims of a token: the user, the project and the names of the user's roles.

    `credential` identifies what the session was started with: the static admin's password, or the provider of
    single sign-on. `groups`: the user's groups that have a role. `lifetime` in seconds; 0 means the default.
    `source` says how the user signed in; it is not in the token. `id` and `expires_at` (epoch seconds) are
    set by `Sessions`.
    """

    project_id: str
    username: str
    roles: Sequence[str]
    avatar_url: str = ""
    credential: str = ""
    groups: Sequence[str] = ()
    lifetime: int = 0
    source: str = PASSWORD
    id: str = ""
    expires_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """In seconds: how long a session lasts, and how long it may be unused; 0 means any time."""

    absolute: int = 7 * 24 * 3600
    idle: int = 24 * 3600


DEFAULT_LIFETIMES = Lifetimes()


@dataclass(frozen=True, kw_only=True)
class StoredSession:
    """A session that has not ended, as it is listed. Times in epoch seconds.

    `address` and `user_agent` (the header) are those of the sign-in, `last_seen_at` and `last_address` those
    of the latest use, accurate to `session_seen_interval`.
    """

    session: Session
    started_at: int
    address: str
    user_agent: str
    last_seen_at: int
    last_address: str


@dataclass(kw_only=True)
class _Known:
    """A session that had not ended at `checked_at` (monotonic seconds)."""

    checked_at: float
    last_seen_at: int


def check_key(key: bytes) -> None:
    """Raises ConfigError if the encryption key is too short."""
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"the encryption key has {len(key)} bytes; at least {MIN_KEY_BYTES} are required",
            remedy="create one with `openssl rand -base64 64` and pass it with --encryption-key-file",
        )


class Sessions:
    """Signs and verifies tokens with `key`, the contents of the encryption key file."""

    def __init__(
        self,
        key: bytes,
        store: Store,
        clock: Clock,
        settings: AuthSettings,
        lifetimes: Lifetimes = DEFAULT_LIFETIMES,
    ) -> None:
        check_key(key)
        self._key, self._store, self._clock, self._settings = key, store, clock, settings
        self._lifetimes = lifetimes
        self._known: BoundedDict[str, _Known] = BoundedDict(settings.max_credentials)

    @property
    def lifetime(self) -> int:
        """In seconds."""
        return self._lifetimes.absolute

    async def run(self) -> None:
        """Forget sessions as soon as another replica ends them, until cancelled."""
        with self._store.feed.subscribe() as changes:
            while True:
                change = await changes.get()
                if change is RESYNC:
                    self._known.clear()
                elif change.kind == sessions.CHANGE_KIND:
                    self._known.pop(change.id, None)

    async def start(self, session: Session, *, by: Actor, address: str = "", user_agent: str = "") -> str:
        """Start a session, with a row in the audit log. Returns its token."""
        now = self._clock.now()
        issued, id = int(now), secrets.token_urlsafe(24)
        expires_at = issued + (session.lifetime or self.lifetime)
        roles, groups = list(session.roles), list(session.groups)
        stored = {"roles": roles, "groups": groups, "credential": session.credential, "mac": self.mac(id)}
        row = {
            "id": id,
            "project_id": session.project_id,
            "username": session.username,
            "source": session.source,
            "claims": json.dumps(stored),
            "started_at": issued,
            "last_seen_at": issued,
            "expires_at": expires_at,
            "address": address,
            "last_address": address,
            "user_agent": printable(user_agent[:_MAX_USER_AGENT]),
        }
        audited = {"username": session.username, "roles": ", ".join(roles), "source": session.source}
        limit = self._settings.max_sessions
        await sessions.create(self._store, row, audited, max_sessions=limit, now=now, by=by)
        claims = {
            "iss": _ISSUER,
            "sub": session.username,
            "jti": id,
            "iat": issued,
            "nbf": issued,
            "exp": expires_at,
            "avatarUrl": session.avatar_url,
            "role": {"project_id": session.project_id, "project_rbac_roles": roles},
            "credential": session.credential,
            "groups": groups,
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

    async def check(self, session: Session, address: str = "") -> None:
        """Raises Unauthenticated if the session has expired, was not used for too long, or was ended.

        It is used from `address`. Another replica may have ended it up to `credential_max_age` seconds ago;
        usually the change feed says so at once.
        """
        now = self._clock.now()
        if now >= session.expires_at:
            raise Unauthenticated("the session has expired; sign in again")
        known = self._known.get(session.id)
        if known is None or self._clock.monotonic() - known.checked_at >= self._settings.credential_max_age:
            known = await self._load(session)
        unused = now - known.last_seen_at
        if 0 < self._lifetimes.idle <= unused:
            raise Unauthenticated("the session has ended, because it was not used; sign in again")
        if unused >= self._settings.session_seen_interval:
            # Set before writing, so that calls at the same time write once.
            previous, known.last_seen_at = known.last_seen_at, int(now)
            try:
                await sessions.touch(self._store.database, session.id, int(now), address)
            except Temporary as error:
                known.last_seen_at = previous
                log.warning("session_use_not_stored", error=str(error))

    async def end(self, session: Session, *, by: Actor) -> None:
        """End the session for good. Its open streams end too."""
        await self.end_all(session.project_id, [session.id], by=by)

    async def end_all(self, project_id: str, ids: Sequence[str], *, by: Actor) -> int:
        """End those sessions of the project. Returns how many had not ended before."""
        try:
            return await sessions.end(self._store, project_id, ids, self._clock.now(), by=by)
        finally:
            for id in ids:
                self._known.pop(id, None)

    async def list_stored(self, project_id: str, username: str = "") -> Sequence[StoredSession]:
        """The sessions of the project, or of one user, that have not expired; the last used ones first.

        At most `store.sessions.MAX_LISTED`, without those of an earlier key. The credential of some may have
        changed since.
        """
        now, idle = self._clock.now(), self._lifetimes.idle
        rows = await sessions.page(self._store.database, project_id, username)
        used_after = now - idle if idle else 0
        valid = [row for row in rows if now < row.expires_at and row.last_seen_at > used_after]
        decoded = [(row, json.loads(row.claims)) for row in valid]
        return [
            _from_row(row, claims)
            for row, claims in decoded
            if hmac.compare_digest(claims.get("mac", ""), self.mac(row.id))
        ]

    async def prune(self) -> None:
        """Delete the rows of sessions that have expired."""
        now, idle = int(self._clock.now()), self._lifetimes.idle
        used_after = now - idle if idle else 0
        await sessions.prune(self._store.database, now=now, used_after=used_after)

    def mac(self, id: str) -> str:
        """Says whether a row was written with the present key: tokens of other keys are invalid."""
        return hmac.digest(self._key, b"session " + id.encode(), "sha256").hex()

    async def _load(self, session: Session) -> _Known:
        """Raises Unauthenticated if the session was ended."""
        checked_at = self._clock.monotonic()
        last_seen_at = await sessions.last_seen(self._store.database, session.id)
        if last_seen_at is None:
            self._known.pop(session.id, None)
            raise Unauthenticated(_ENDED)
        # Calls at the same time share the entry, so that one of them stores the use.
        known = self._known.get(session.id) or _Known(checked_at=checked_at, last_seen_at=last_seen_at)
        known.checked_at, known.last_seen_at = checked_at, max(known.last_seen_at, last_seen_at)
        self._known[session.id] = known
        return known


def _from_row(row: Any, claims: Mapping[str, Any]) -> StoredSession:
    return StoredSession(
        session=Session(
            project_id=row.project_id,
            username=row.username,
            roles=tuple(claims["roles"]),
            groups=tuple(claims["groups"]),
            credential=claims["credential"],
            source=row.source,
            id=row.id,
            expires_at=row.expires_at,
        ),
        started_at=row.started_at,
        address=row.address,
        user_agent=row.user_agent,
        last_seen_at=row.last_seen_at,
        last_address=row.last_address,
    )

"""Console sessions: a signed JSON Web Token in a cookie, in PipeCD's format, and a row in the database.

`http.login` starts and ends them, `rpc.identity` checks them with each call, `rpc.sessions` lists them. A
session ends when it expires, when it was not used for some time, when its user signs out or an administrator
ends it, and when the credential that it was started with no longer is the user's: a changed password, or
another provider of single sign-on, ends the sessions that were started before.
"""

import hmac
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock
from pipecd.controlplane.auth.derived_cipher import DerivedCipher
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store, sessions
from pipecd.controlplane.store.feed import Change
from pipecd.errors import ConfigError, Temporary, Unauthenticated
from pipecd.json_input import decode_json
from pipecd.model.actor import Actor
from pipecd.printable import printable

log = structlog.get_logger()

COOKIE = "token"
#: Start of the `credential` of sessions that a provider authenticated.
CREDENTIAL = "sso:"
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
    single sign-on. `subject` identifies the user at the provider, where several may have the same name; it is
    empty for the static admin, only in the database, and set by `Sessions.check`. `groups`: the user's groups
    that have a role. `lifetime` in seconds; 0 means the default. `source` says how the user signed in; it is
    not in the token. `id` and `expires_at` (epoch seconds) are set by `Sessions`.

    `grant` is what the provider can be asked with for the user's groups; it is only in the database.
    `Sessions.check` sets when the provider confirmed them, and when it is to be asked again (epoch seconds).
    """

    project_id: str
    username: str
    roles: Sequence[str]
    avatar_url: str = ""
    credential: str = ""
    subject: str = ""
    groups: Sequence[str] = ()
    lifetime: int = 0
    source: str = PASSWORD
    id: str = ""
    expires_at: float = 0.0
    grant: str = field(default="", repr=False)
    confirmed_at: int = 0
    next_check_at: float = math.inf

    @property
    def from_provider(self) -> bool:
        """Whether a provider of single sign-on authenticated the user."""
        return self.credential.startswith(CREDENTIAL)

    def is_of_user(self, other: "Session") -> bool:
        """Whether the user of `other` has started this session, too."""
        return self.user == other.user

    @property
    def user(self) -> tuple[str, ...]:
        """What identifies the user: others may have the same name."""
        return self.project_id, self.username, self.credential, self.subject


@dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """In seconds; 0 means any time for the limits, and never for `groups_check`.

    How long a session lasts, how long it may be unused, how often a provider is asked for the groups of a
    user, and how long a session lasts after a provider has confirmed them.
    """

    absolute: int = 7 * 24 * 3600
    idle: int = 24 * 3600
    groups_check: int = 15 * 60
    groups_max_age: int = 24 * 3600


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


@dataclass(frozen=True, kw_only=True)
class _Access:
    """What the provider confirmed last."""

    roles: Sequence[str]
    groups: Sequence[str]
    subject: str
    confirmed_at: int
    next_check_at: float


@dataclass(kw_only=True)
class _Known:
    """A session that had not ended at `checked_at` (monotonic seconds). Calls at the same time share it."""

    checked_at: float
    last_seen_at: int
    access: _Access


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
        self.lifetimes = lifetimes
        self._cipher = DerivedCipher(key, b"pipecd grants of single sign-on")
        self._known: BoundedDict[str, _Known] = BoundedDict(settings.max_credentials)
        #: Sessions that the change feed reported as ended, which a read at the same time may not know.
        self._ended: BoundedDict[str, None] = BoundedDict(settings.max_credentials)
        store.feed.call_first(self._forget)

    @property
    def lifetime(self) -> int:
        """In seconds."""
        return self.lifetimes.absolute

    async def start(self, session: Session, *, by: Actor, address: str = "", user_agent: str = "") -> str:
        """Start a session, with a row in the audit log. Returns its token."""
        now = self._clock.now()
        issued, id = int(now), secrets.token_urlsafe(24)
        grant = session.grant if self.lifetimes.groups_check else ""
        expires_at = issued + (session.lifetime or self.lifetime)
        if session.from_provider and not grant and self.lifetimes.groups_max_age:
            expires_at = min(expires_at, issued + self.lifetimes.groups_max_age)
        roles, groups = list(session.roles), list(session.groups)
        row = {
            "id": id,
            "project_id": session.project_id,
            "username": session.username,
            "source": session.source,
            "claims": self._claims(session, id),
            "started_at": issued,
            "last_seen_at": issued,
            "expires_at": expires_at,
            "address": address,
            "last_address": address,
            "user_agent": printable(user_agent[:_MAX_USER_AGENT]),
            "provider_grant": self._encrypt(grant, id),
            "confirmed_at": issued,
            "next_check_at": 0,
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

    async def check(self, session: Session, address: str = "") -> Session:
        """`session` with the roles and groups that were confirmed last.

        Raises Unauthenticated if it has expired, was not used for too long, or was ended. It is used from
        `address`. Another replica may have ended it up to `credential_max_age` seconds ago;
        usually the change feed says so at once.
        """
        now = self._clock.now()
        if now >= session.expires_at:
            raise Unauthenticated("the session has expired; sign in again")
        known = self._known.get(session.id)
        if known is None or self._clock.monotonic() - known.checked_at >= self._settings.credential_max_age:
            known = await self._load(session)
        unused = now - known.last_seen_at
        if 0 < self.lifetimes.idle <= unused:
            raise Unauthenticated("the session has ended, because it was not used; sign in again")
        if unused >= self._settings.session_seen_interval:
            # Set before writing, so that calls at the same time write once.
            previous, known.last_seen_at = known.last_seen_at, int(now)
            try:
                await sessions.touch(self._store.database, session.id, int(now), address)
            except Temporary as error:
                known.last_seen_at = previous
                log.warning("session_use_not_stored", error=str(error))
        access = known.access
        return replace(
            session,
            roles=access.roles,
            groups=access.groups,
            subject=access.subject,
            confirmed_at=access.confirmed_at,
            next_check_at=access.next_check_at,
        )

    async def claim_check(self, session: Session, until: float) -> Session | None:
        """`session` with its grant if this process is to ask its provider, until `until`."""
        now, known = int(self._clock.now()), session.confirmed_at
        row = await sessions.claim_check(
            self._store.database, session.id, confirmed_at=known, now=now, until=int(until)
        )
        self._known.pop(session.id, None)
        return replace(session, grant=self._decrypt(row.provider_grant, row.id)) if row else None

    async def set_grant(self, session: Session, grant: str) -> None:
        """Store the tokens of the provider that are valid now; none if it cannot be asked again."""
        await sessions.update(
            self._store.database, session.id, {"provider_grant": self._encrypt(grant, session.id)}
        )

    async def confirm(self, before: Session, after: Session, *, by: Actor) -> None:
        """Store the groups, roles and grant that the provider has confirmed."""
        now = int(self._clock.now())
        values = {
            "claims": self._claims(after, after.id),
            "provider_grant": self._encrypt(after.grant, after.id),
            "confirmed_at": now,
            "next_check_at": 0,
        }
        groups = [", ".join(session.groups) for session in (before, after)]
        await sessions.confirm(
            self._store,
            project_id=after.project_id,
            id=after.id,
            username=after.username,
            values=values,
            groups=groups,
            now=now,
            by=by,
        )
        self._known.pop(after.id, None)

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
        now, idle, max_age = self._clock.now(), self.lifetimes.idle, self.lifetimes.groups_max_age
        rows = await sessions.page(self._store.database, project_id, username)
        used_after = now - idle if idle else 0
        confirmed_after = now - max_age if max_age else 0
        valid = [
            row
            for row in rows
            if now < row.expires_at
            and row.last_seen_at > used_after
            and (row.source == PASSWORD or row.provider_grant or _confirmed_at(row) > confirmed_after)
        ]
        decoded = [(row, decode_json(row.claims)) for row in valid]
        return [
            _from_row(row, claims)
            for row, claims in decoded
            if hmac.compare_digest(claims.get("mac", ""), self.mac(row.id))
        ]

    async def prune(self) -> None:
        """Delete the rows of sessions that have expired."""
        now, idle = int(self._clock.now()), self.lifetimes.idle
        used_after = now - idle if idle else 0
        await sessions.prune(self._store.database, now=now, used_after=used_after)

    def mac(self, id: str) -> str:
        """Says whether a row was written with the present key: tokens of other keys are invalid."""
        return hmac.digest(self._key, b"session " + id.encode(), "sha256").hex()

    def user_id(self, session: Session) -> str:
        """Tells users apart, and nothing else about them."""
        return hmac.digest(self._key, b"user " + json.dumps(session.user).encode(), "sha256").hex()

    async def _load(self, session: Session) -> _Known:
        """Raises Unauthenticated if the session was ended."""
        checked_at = self._clock.monotonic()
        row = await sessions.state(self._store.database, session.id)
        if row is None or session.id in self._ended:
            self._known.pop(session.id, None)
            raise Unauthenticated(_ENDED)
        claims, interval = decode_json(row.claims), self.lifetimes.groups_check
        access = _Access(
            roles=tuple(claims["roles"]),
            groups=tuple(claims["groups"]),
            subject=sessions.subject_of(claims),
            confirmed_at=_confirmed_at(row),
            next_check_at=max(row.next_check_at, row.confirmed_at + interval)
            if interval and row.has_grant
            else math.inf,
        )
        known = self._known.get(session.id)
        if known is None:
            known = _Known(checked_at=checked_at, last_seen_at=row.last_seen_at, access=access)
        else:
            # The entry stays the same, so that one of the calls stores the use.
            known.checked_at, known.access = checked_at, access
            known.last_seen_at = max(known.last_seen_at, row.last_seen_at)
        self._known[session.id] = known
        return known

    def _forget(self, change: Change) -> None:
        if change.kind == sessions.CHANGE_KIND:
            self._ended[change.id] = None
            self._known.pop(change.id, None)

    def _claims(self, session: Session, id: str) -> str:
        stored: dict[str, object] = {"roles": list(session.roles), "groups": list(session.groups)}
        stored |= {"credential": session.credential, "subject": session.subject}
        return json.dumps({**stored, "mac": self.mac(id)})

    def _encrypt(self, grant: str, id: str) -> str:
        return self._cipher.encrypt(grant, bound_to=id) if grant else ""

    def _decrypt(self, text: str, id: str) -> str:
        """Empty if it was encrypted with another key."""
        return self._cipher.decrypt(text, bound_to=id) or ""


def _confirmed_at(row: Any) -> int:
    """A server of an earlier version, during an upgrade, does not set it."""
    return int(row.confirmed_at or row.started_at)


def _from_row(row: Any, claims: Mapping[str, Any]) -> StoredSession:
    return StoredSession(
        session=Session(
            project_id=row.project_id,
            username=row.username,
            roles=tuple(claims["roles"]),
            groups=tuple(claims["groups"]),
            credential=claims["credential"],
            subject=sessions.subject_of(claims),
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

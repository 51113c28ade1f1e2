"""A sign-in from its beginning to a session.

`begin` sends the browser to the provider, with a state that is bound to the browser: an encrypted cookie
holds the state, the nonce, the PKCE verifier and the project. `read` reads the cookies of the sign-ins that a
browser has begun, in several tabs; `complete` verifies what it brings back for one of them. `ask_again` asks
the provider of a session for the groups that its user has now.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipecd.clock import Clock
from pipecd.controlplane.auth import sessions
from pipecd.controlplane.auth.derived_cipher import DerivedCipher
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.auth.sso import github
from pipecd.controlplane.auth.sso.grants import Grant, GrantEnded, StoreGrant
from pipecd.controlplane.auth.sso.oidc import OIDCClient, roles_claims
from pipecd.controlplane.auth.sso.providers import OIDC, GitHub, Identity, Provider
from pipecd.controlplane.auth.sso.roles import matching_groups, refuse, refuse_without_claim, roles_of
from pipecd.controlplane.settings import AuthSettings
from pipecd.errors import ConfigError, NotFound, PermissionDenied, Unauthenticated
from pipecd.json_input import decode_json

#: How long a user may take at the provider, in seconds.
LIFETIME = 600
CALLBACK = "/auth/callback"
#: Maximum length of the cookie, and of each parameter of the callback, in characters.
_MAX_LENGTH = 4096
#: Groups in a session.
_MAX_GROUPS = 20
#: How long the browser keeps the cookie, in seconds. After `LIFETIME` it only says where to return to.
COOKIE_LIFETIME = 3600
#: A path of the console: nothing that browsers take for another host.
_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]{0,1000}")
FIRST_PAGE = "/"


@dataclass(frozen=True, kw_only=True)
class Started:
    """The browser is sent to `url`, with `state` as its parameter, and the cookie `cookie`."""

    url: str
    state: str
    cookie: str


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """A sign-in that a browser has begun, as its cookie says. `expires_at` in epoch seconds."""

    cookie_name: str
    state: str
    nonce: str
    verifier: str
    project_id: str
    return_path: str
    expires_at: int

    def is_answered_by(self, parameters: Mapping[str, str]) -> bool:
        """Whether the provider's answer is to this sign-in."""
        return hmac.compare_digest(parameters.get("state", "").encode(), self.state.encode())


class SingleSignOn:
    """`address` is the configured URL of the console; `key` is the encryption key."""

    def __init__(
        self, projects: Projects, key: bytes, clock: Clock, limits: AuthSettings, *, address: str
    ) -> None:
        self._projects, self._clock, self._address = projects, clock, address
        self._timeout = limits.provider_timeout
        self._cipher = DerivedCipher(key, b"pipecd single sign-on state")
        self._oidc = OIDCClient(clock, limits)

    async def provider(self, project_id: str) -> Provider | None:
        """The provider of the project, if it has one. Raises ConfigError if its configuration is invalid."""
        try:
            return await self._projects.provider(project_id)
        except NotFound:
            return None

    async def check(self, provider: Provider) -> None:
        """Verify that the provider responds and accepts the client. Raises Temporary or ConfigError."""
        settings, redirect_uri = provider.settings, self._redirect_uri(provider)
        if isinstance(settings, GitHub):
            await github.check(settings, redirect_uri, self._clock, self._timeout)
        else:
            await self._oidc.check(settings, redirect_uri)

    async def begin(self, project_id: str, return_path: str) -> Started:
        """Raises Temporary, ConfigError, or NotFound if the project has no provider."""
        provider = await self._require(project_id)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = _challenge(verifier)
        settings, redirect_uri = provider.settings, self._redirect_uri(provider)
        if isinstance(settings, GitHub):
            url = github.authorization_url(settings, redirect_uri, state, challenge)
        else:
            url = await self._oidc.authorization_url(settings, redirect_uri, state, nonce, challenge)
        fields = {
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "project": project_id,
            "next": local_path(return_path),
            "expires": int(self._clock.now()) + LIFETIME,
        }
        return Started(url=url, state=state, cookie=self._cipher.encrypt(json.dumps(fields)))

    def read(self, cookies: Mapping[str, str]) -> Sequence[SignIn]:
        """The sign-ins that the browser with these cookies, by name, has begun; the oldest one first."""
        sign_ins = (self._read(name, cookie) for name, cookie in cookies.items())
        return sorted(filter(None, sign_ins), key=lambda sign_in: sign_in.expires_at)

    async def complete(self, sign_in: SignIn, parameters: Mapping[str, str]) -> Session:
        """The session of the user.

        Raises Unauthenticated, PermissionDenied, NotFound, Temporary or ConfigError.
        """
        if sign_in.expires_at < self._clock.now():
            raise Unauthenticated(f"the sign-in took longer than {LIFETIME // 60} min; sign in again")
        provider = await self._require(sign_in.project_id)
        settings, redirect_uri = provider.settings, self._redirect_uri(provider)
        if problem := parameters.get("error", ""):
            description = parameters.get("error_description", "")[:300]
            if problem == "access_denied":
                raise PermissionDenied(f"{settings.title} denied the sign-in. {description}".strip())
            raise Unauthenticated(
                f"{settings.title} refused the sign-in: {problem[:100]} {description}".strip()
            )
        code = parameters.get("code", "")
        if not 0 < len(code) <= _MAX_LENGTH:
            raise Unauthenticated(f"{settings.title} sent no code; sign in again")
        if isinstance(settings, GitHub):
            identity = await github.identify(
                settings, code, redirect_uri, sign_in.verifier, self._clock, self._timeout
            )
        else:
            identity = await self._oidc.identify(
                settings, code, redirect_uri, sign_in.verifier, sign_in.nonce, parameters.get("iss")
            )
        return await self._session(sign_in.project_id, provider, identity)

    async def ask_again(self, session: Session, grant: Grant, store: StoreGrant) -> Session:
        """`session` with the groups, roles and grant that its user has now.

        `store` gets renewed tokens at once: an earlier refresh token may be invalid then. Raises GrantEnded,
        CannotAsk, PermissionDenied, Temporary or ConfigError.
        """
        provider = await self._require(session.project_id)
        settings = provider.settings
        if not hmac.compare_digest(provider.credential, session.credential):
            # Its tokens are another provider's.
            raise GrantEnded("the single sign-on of the project was changed")
        if isinstance(settings, GitHub):
            identity = await github.identify_again(settings, grant, self._clock, self._timeout, store)
        else:
            identity = await self._oidc.identify_again(settings, grant, store)
        now = await self._session(session.project_id, provider, replace(identity, username=session.username))
        return replace(session, groups=now.groups, roles=now.roles, grant=now.grant)

    async def _session(self, project_id: str, provider: Provider, identity: Identity) -> Session:
        """Raises NoRole if none of the user's groups has a role."""
        settings, is_github = provider.settings, isinstance(provider.settings, GitHub)
        project = await self._projects.get(project_id)
        roles_by_group = {group.sso_group: group.role for group in project.user_groups}
        matched = matching_groups(
            identity.groups, roles_by_group, ignore_case=is_github, built_in=not is_github
        )
        roles = roles_of(matched, roles_by_group, stray_as_viewer=project.allow_stray_as_viewer)
        if not roles and isinstance(settings, OIDC) and not identity.grant.groups_in:
            claims = roles_claims(settings)
            raise refuse_without_claim(project.id, identity.username, settings.title, claims, settings.scopes)
        if not roles:
            hint = f"{settings.title} sent these groups"
            if is_github:
                hint = "GitHub shows these teams and organizations"
                hint += " (an organization may have to approve the app)"
            raise refuse(project.id, identity.username, identity.groups, hint)
        return Session(
            project_id=project_id,
            username=identity.username,
            roles=tuple(roles),
            avatar_url=identity.avatar_url,
            credential=provider.credential,
            # A provider's id may have any length.
            subject=hashlib.sha256(identity.grant.subject.encode()).hexdigest(),
            groups=_bound(matched, roles_by_group),
            lifetime=provider.session_lifetime,
            source=sessions.GITHUB if is_github else sessions.OIDC,
            grant=identity.grant.to_json(),
        )

    async def _require(self, project_id: str) -> Provider:
        provider = await self.provider(project_id)
        if provider is None:
            raise NotFound("the project does not exist, or has no single sign-on")
        return provider

    def _redirect_uri(self, provider: Provider) -> str:
        configured = "" if isinstance(provider.settings, GitHub) else provider.settings.redirect_uri
        if not configured and not self._address:
            raise ConfigError(
                "single sign-on needs the URL of the console",
                remedy="set `address` in the configuration of the control plane",
            )
        return configured or self._address + CALLBACK

    def _read(self, name: str, cookie: str) -> SignIn | None:
        """None if the cookie is none of `begin` with the present key."""
        text = self._cipher.decrypt(cookie[:_MAX_LENGTH])
        if text is None:
            return None
        fields = decode_json(text)
        return SignIn(
            cookie_name=name,
            state=fields["state"],
            nonce=fields["nonce"],
            verifier=fields["verifier"],
            project_id=fields["project"],
            return_path=fields["next"],
            expires_at=fields["expires"],
        )


def local_path(path: str) -> str:
    """`path` if it is one of the console, else that of its first page."""
    return path if _PATH.fullmatch(path) else FIRST_PAGE


def answered(sign_ins: Iterable[SignIn], parameters: Mapping[str, str]) -> SignIn:
    """The one of the sign-ins that the provider's answer is to. Raises Unauthenticated if it is to none."""
    for sign_in in sign_ins:
        if sign_in.is_answered_by(parameters):
            return sign_in
    raise Unauthenticated(
        "the sign-in was not started by this browser, has ended, or the browser blocks cookies; sign in again"
    )


def _bound(matched: Sequence[str], roles_by_group: Mapping[str, str]) -> tuple[str, ...]:
    """At most `_MAX_GROUPS` groups, the first of each role among them: cookies have at most 4 KiB."""
    first = {roles_by_group.get(group, group): group for group in reversed(matched)}
    return tuple(dict.fromkeys((*first.values(), *matched)))[:_MAX_GROUPS]


def _challenge(verifier: str) -> str:
    """PKCE's S256."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")

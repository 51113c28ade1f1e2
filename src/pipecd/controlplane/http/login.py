"""Sign-in and sign-out of the console: `/auth/*`.

A correct user name and password, or a provider of single sign-on, set the session cookie. A failed attempt
with a password does not reveal which part was wrong, and repeated failures are throttled; the console reads
the message from the cookie `error`. Starting and ending a session write rows of the audit log. `http.origin`
refuses requests that other sites cause.
"""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from pipecd.controlplane.auth.client_address import TrustedProxies
from pipecd.controlplane.auth.known_browsers import LIFETIME as KNOWN_BROWSER_LIFETIME
from pipecd.controlplane.auth.known_browsers import KnownBrowsers
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.refusals import Refusals
from pipecd.controlplane.auth.sessions import COOKIE, Session, Sessions
from pipecd.controlplane.auth.sso.flow import (
    COOKIE_LIFETIME,
    FIRST_PAGE,
    SingleSignOn,
    answered,
    local_path,
)
from pipecd.controlplane.auth.sso.providers import GitHub
from pipecd.controlplane.auth.sso.roles import NoRole
from pipecd.controlplane.http.client_address import http_client_address
from pipecd.controlplane.http.throttle import Attempt, Throttle
from pipecd.errors import PipecdError, Unauthenticated
from pipecd.model.access import ADMIN
from pipecd.model.actor import Actor, ActorKind
from pipecd.printable import printable

log = structlog.get_logger()

ERROR_COOKIE = "error"
#: Lifetime of the error cookie, in seconds.
_ERROR_LIFETIME = 600
#: Maximum length of each form field, in characters. Hashing longer passwords would let attackers use up CPU.
_MAX_FIELD_LENGTH = 1024
#: Maximum length of an error, in characters: browsers accept cookies of 4 KiB, percent-encoded.
_MAX_MESSAGE_LENGTH = 700
#: Name of the cookie with the state of a sign-in while the user is at the provider: each tab has its own. An
#: earlier version used the name without a suffix.
_STATE_COOKIE, _STATE_COOKIES = "state-{}", re.compile(r"state(-[\w-]{8})?", re.ASCII)
#: At the beginning of a message; not a host name, an address or a path, whose case has a meaning.
_FIRST_WORD = re.compile(r"^[a-z][a-z'-]*(?=[\s,;]|$)")
#: Sign-ins that a browser may have begun. Proxies accept cookies of 8 KiB together.
_MAX_STARTED = 3


class Login:
    def __init__(
        self,
        projects: Projects,
        sessions: Sessions,
        proxies: TrustedProxies,
        throttle: Throttle,
        refusals: Refusals,
        sso: SingleSignOn,
        browsers: KnownBrowsers,
        *,
        insecure_cookie: bool,
    ) -> None:
        self._projects, self._sessions, self._proxies = projects, sessions, proxies
        self._sso, self._browsers = sso, browsers
        self._secure = not insecure_cookie
        self._throttle, self._refusals = throttle, refusals

    async def static(self, request: Request) -> Response:
        """Sign in the static administrator of a project with user name and password."""
        async with request.form(max_files=0, max_fields=10) as form:
            project, username, password = (
                str(form.get(name, "")) for name in ("project", "username", "password")
            )
        if max(map(len, (project, username, password))) > _MAX_FIELD_LENGTH:
            return self._reject("The user name, the password or the project is too long.")
        address = http_client_address(request, self._proxies)
        cookie = request.cookies.get(self._browsers.cookie_name(project, username), "")
        browser = self._browsers.read(cookie, project, username)
        attempt = Attempt(project_id=project, username=username, address=address, known_browser=browser)
        try:
            wait = await self._throttle.begin(attempt)
        except PipecdError as error:
            return self._unavailable(error)
        if wait:
            return self._reject(f"Too many failed attempts; try again in {_duration(wait)}.")
        try:
            credential = await self._projects.check_static_admin(project, username, password)
            await self._throttle.record_success(attempt)
        except Unauthenticated:
            log.warning("sign_in_failed", project=project, username=username, peer=address)
            if await self._projects.exists(project):
                claimed = Session(project_id=project, username=username, roles=())
                self._refusals.add(
                    _actor(claimed, "sign-in", address), "the user name or the password is wrong"
                )
            return self._reject("The project, the user name or the password is wrong.")
        except PipecdError as error:
            with suppress(PipecdError):
                await self._throttle.withdraw(attempt)
            return self._unavailable(error)
        log.info("signed_in", project=project, username=username, peer=address)
        session = Session(project_id=project, username=username, roles=(ADMIN,), credential=credential)
        response = await self._start_session(request, session)
        response.set_cookie(
            self._browsers.cookie_name(project, username),
            self._browsers.issue(project, username, browser),
            max_age=KNOWN_BROWSER_LIFETIME,
            path="/auth",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return response

    async def provider(self, request: Request) -> Response:
        """The provider of the project `?project=` for the login page: `{"title": …, "kind": …}` or `null`.

        `kind` is `GITHUB` or `OIDC`.
        """
        try:
            provider = await self._sso.provider(request.query_params.get("project", "")[:_MAX_FIELD_LENGTH])
        except PipecdError as error:
            log.error("provider_unavailable", error=str(error))
            provider = None
        headers = {"cache-control": "no-store"}
        if provider is None:
            return JSONResponse(None, headers=headers)
        kind = "GITHUB" if isinstance(provider.settings, GitHub) else "OIDC"
        return JSONResponse({"title": provider.settings.title, "kind": kind}, headers=headers)

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider of the project; afterwards, it returns to the path `next`."""
        fields: Mapping[str, object] = request.query_params
        if request.method == "POST":
            async with request.form(max_files=0, max_fields=10) as form:
                fields = dict(form)
        project, return_path = str(fields.get("project", "")), str(fields.get("next", ""))
        if len(project) > _MAX_FIELD_LENGTH:
            return self._reject("The name of the project is too long.", _login_page(return_path))
        try:
            started = await self._sso.begin(project, return_path)
        except PipecdError as error:
            log.warning("sign_in_not_started", project=project, error=str(error))
            return self._reject(to_sentence(error), _login_page(return_path))
        response = RedirectResponse(started.url, status_code=303)
        cookies = _state_cookies(request)
        kept = {sign_in.cookie_name for sign_in in self._sso.read(cookies)[1 - _MAX_STARTED :]}
        for name in cookies.keys() - kept:
            self._delete_state(response, name)
        response.set_cookie(
            _STATE_COOKIE.format(started.state[:8]),
            started.cookie,
            max_age=COOKIE_LIFETIME,
            path="/auth",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def complete(self, request: Request) -> Response:
        """The provider sends the browser here: start the session of the user."""
        peer = http_client_address(request, self._proxies)
        parameters, path = request.query_params, FIRST_PAGE
        sign_in = None
        try:
            sign_in = answered(self._sso.read(_state_cookies(request)), parameters)
            path = sign_in.return_path
            session = await self._sso.complete(sign_in, parameters)
        except PipecdError as error:
            log.warning("sign_in_failed", peer=peer, error=str(error))
            if isinstance(error, NoRole):
                claimed = Session(project_id=error.project_id, username=error.username, roles=())
                self._refusals.add(_actor(claimed, "sign-in", peer), "none of the user's groups has a role")
            response = self._reject(to_sentence(error), _login_page(path))
        else:
            log.info("signed_in", project=session.project_id, username=session.username, peer=peer)
            response = await self._start_session(request, session, path)
        if sign_in:
            self._delete_state(response, sign_in.cookie_name)
        return response

    async def logout(self, request: Request) -> Response:
        """End the session, if there is one, and delete its cookie."""
        response = RedirectResponse("/", status_code=303)
        for name in (COOKIE, "state"):
            response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="strict")
        try:
            session = self._sessions.read(request.cookies.get(COOKIE, ""))
            await self._sessions.check(session)
        except Unauthenticated:
            return response
        address = http_client_address(request, self._proxies)
        await self._sessions.end(session, by=_actor(session, "sign-out", address))
        log.info("signed_out", project=session.project_id, username=session.username, peer=address)
        return response

    async def _start_session(self, request: Request, session: Session, path: str = "/") -> Response:
        address = http_client_address(request, self._proxies)
        token = await self._sessions.start(
            session,
            address=address,
            user_agent=request.headers.get("user-agent", ""),
            by=_actor(session, "sign-in", address),
        )
        response = RedirectResponse(path, status_code=302)
        response.set_cookie(
            COOKIE,
            token,
            max_age=session.lifetime or self._sessions.lifetime,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        response.delete_cookie(ERROR_COOKIE, path="/")
        return response

    def _unavailable(self, error: PipecdError) -> Response:
        log.error("sign_in_unavailable", error=str(error))
        return self._reject("The control plane cannot check the password now; try again in a moment.")

    def _delete_state(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/auth", secure=self._secure, httponly=True, samesite="lax")

    def _reject(self, message: str, path: str = FIRST_PAGE) -> Response:
        """The login page shows the message. Without a session, it is the console's first page too."""
        response = RedirectResponse(path, status_code=303)
        response.set_cookie(
            ERROR_COOKIE,
            quote(message[:_MAX_MESSAGE_LENGTH]),
            max_age=_ERROR_LIFETIME,
            path="/",
            secure=self._secure,
            samesite="strict",
        )
        return response


def _state_cookies(request: Request) -> Mapping[str, str]:
    """Value by name."""
    return {name: value for name, value in request.cookies.items() if _STATE_COOKIES.fullmatch(name)}


def _login_page(return_path: str) -> str:
    """The address of the login page, which leads to the path after the next attempt.

    Not that of the page itself: with the session of another tab, the browser would show it, and no message.
    """
    path = local_path(return_path)
    return "/login" if path == FIRST_PAGE else f"/login?next={quote(path, safe='')}"


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= 60 else f"{math.ceil(seconds / 60)} min"


def to_sentence(error: PipecdError) -> str:
    text = _FIRST_WORD.sub(lambda word: word[0].capitalize(), printable(str(error)))
    return text if text.endswith(".") else f"{text}."


def _actor(session: Session, action: str, address: str) -> Actor:
    return Actor(
        kind=ActorKind.PERSON,
        id=session.username,
        name=session.username,
        action=action,
        project_id=session.project_id,
        address=address,
    )

"""Signing in and out of the console: `/auth/*`.

A good name and password become the session cookie. Failures look alike whatever was wrong, and are
slowed down; the page reads their sentence from the cookie `error`.
"""

import time
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.sessions import COOKIE, LIFETIME, Session, Sessions
from pipecd.controlplane.http.throttle import Throttle
from pipecd.errors import NotFound, Unauthenticated
from pipecd.model.access import ADMIN

log = structlog.get_logger()

ERROR_COOKIE = "error"
_ERROR_SECONDS = 600
#: Longer names and passwords are nobody's; hashing them would be work for an attacker's benefit.
_LONGEST = 1024


class Login:
    def __init__(self, projects: Projects, sessions: Sessions, *, insecure_cookie: bool) -> None:
        self._projects, self._sessions = projects, sessions
        self._secure = not insecure_cookie
        self._throttle = Throttle()

    async def static(self, request: Request) -> Response:
        """The project's own administrator, by name and password."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("sign in from the console's own page", status_code=403)
        async with request.form(max_files=0, max_fields=10) as form:
            project, username, password = (
                str(form.get(name, "")) for name in ("project", "username", "password")
            )
        if max(map(len, (project, username, password))) > _LONGEST:
            return self._refused("The name, the password or the project is too long.")
        who = (request.client.host if request.client else "", project, username)
        if wait := self._throttle.wait(who, time.monotonic()):
            return self._refused(f"Too many failed attempts; try again in {int(wait / 60) + 1} min.")
        try:
            await self._projects.check_static_admin(project, username, password)
        except (NotFound, Unauthenticated):
            self._throttle.failed(who, time.monotonic())
            log.warning("sign-in failed", project=project, username=username, peer=who[0])
            return self._refused("The project, the user name or the password is wrong.")
        self._throttle.succeeded(who)
        log.info("signed in", project=project, username=username, peer=who[0])
        return self._welcome(Session(project_id=project, username=username, roles=(ADMIN,)))

    async def logout(self, request: Request) -> Response:
        response = RedirectResponse("/", status_code=302)
        for name in (COOKIE, "state"):
            response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="strict")
        return response

    def _welcome(self, session: Session) -> Response:
        response = RedirectResponse("/", status_code=302)
        response.set_cookie(
            COOKIE,
            self._sessions.issue(session, time.time()),
            max_age=int(LIFETIME.total_seconds()),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        response.delete_cookie(ERROR_COOKIE, path="/")
        return response

    def _refused(self, sentence: str) -> Response:
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            ERROR_COOKIE,
            quote(sentence),
            max_age=_ERROR_SECONDS,
            path="/",
            secure=self._secure,
            samesite="strict",
        )
        return response

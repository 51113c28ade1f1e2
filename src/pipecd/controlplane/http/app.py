"""Builds the ASGI application of the HTTP port: the console's API and pages, sign-in and webhooks."""

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from pipecd.controlplane.auth.sso.flow import CALLBACK
from pipecd.controlplane.http.console import BUILT_CONSOLE, Assets, Pages
from pipecd.controlplane.http.login import Login
from pipecd.controlplane.http.origin import RefuseForeign
from pipecd.controlplane.http.security import SecureHeaders
from pipecd.controlplane.http.webhooks import Webhooks


def application(
    *,
    api: ASGIApp,
    login: Login,
    webhooks: Webhooks,
    static_dir: Path | None,
    https: bool,
    address: str,
    newcomer: Mapping[str, object] | None,
) -> ASGIApp:
    """`api` is mounted at `/api`; `https` states whether browsers reach this port over HTTPS.

    `address` is the configured URL of the console; empty if there is none.
    `newcomer` is the getting-started content of the console's first page in a quickstart. Otherwise
    `/quickstart.json` returns `null` rather than an error, because every browser requests it.
    """

    async def quickstart(_: Request) -> Response:
        return JSONResponse(newcomer)

    authentication = Router(
        routes=[
            Route("/login/static", login.static, methods=["POST"]),
            # PipeCD's console sends a form. Ours follows a link: browsers do not follow redirects of forms
            # to other sites, because the console's content security policy forbids them.
            Route("/login", login.begin, methods=["GET", "POST"]),
            Route("/provider", login.provider, methods=["GET"]),
            Route("/logout", login.logout, methods=["POST"]),
        ]
    )
    root = static_dir or BUILT_CONSOLE
    pages = Pages(root)
    app = Starlette(
        routes=[
            Mount("/api", app=RefuseForeign(api, address=address)),
            # The provider's site causes this request; the state that it contains is bound to the browser.
            Route(CALLBACK, login.complete, methods=["GET"]),
            Mount("/auth", app=RefuseForeign(authentication, address=address)),
            Route("/hooks/{host}", webhooks.receive, methods=["POST"]),
            Route("/quickstart.json", quickstart),
            Mount("/assets", app=Assets(directory=root / "assets", check_dir=False)),
            Route("/{path:path}", pages.page, methods=["GET", "HEAD"]),
        ],
    )
    return SecureHeaders(app, https=https)

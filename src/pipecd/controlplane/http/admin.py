"""The admin port, for operators of the control plane: `/healthz`, `/metrics`, `/version`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipecd.telemetry import Health, answer_admin_request
from pipecd.watchdog import Watchdog


def application(health: Health, watchdog: Watchdog) -> ASGIApp:
    async def answer(request: Request) -> Response:
        status, content_type, body = await answer_admin_request(
            request.url.path, health, remark=watchdog.remark
        )
        return Response(body, status_code=status, headers={"content-type": content_type})

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])])

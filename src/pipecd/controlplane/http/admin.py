"""The admin port: `/healthz`, `/metrics`, `/version`, for whoever operates the control plane."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipecd.telemetry import Health, admin_answer


def application(health: Health) -> ASGIApp:
    async def answer(request: Request) -> Response:
        status, content_type, body = await admin_answer(request.url.path, health)
        return Response(body, status_code=status, headers={"content-type": content_type})

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD"])])

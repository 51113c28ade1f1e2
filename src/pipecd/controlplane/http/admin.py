"""The admin port, for operators of the control plane.

`/healthz`, `/version`, `/metrics`, and `/metrics/agents` with the metrics that agents have reported.
"""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipecd.controlplane.records.metrics import Metrics
from pipecd.telemetry import Health, answer_admin_request
from pipecd.watchdog import Watchdog

_METRICS = {"content-type": CONTENT_TYPE_LATEST}
#: The last one is answered with 404, and names the others.
_PATHS = ("/healthz", "/version", "/metrics", "/metrics/agents", "/{path:path}")


def application(
    health: Health, watchdog: Watchdog, metrics: Metrics, *, with_agents: bool = False
) -> ASGIApp:
    """`with_agents`: `/metrics` contains the metrics of agents too, as that of PipeCD's `ops`."""

    async def answer(request: Request) -> Response:
        if request.url.path == "/metrics/agents":
            return Response(await metrics.page(own=False), headers=_METRICS)
        if request.url.path == "/metrics":
            await metrics.refresh()
            if with_agents:
                return Response(await metrics.page(own=True), headers=_METRICS)
        status, content_type, body = await answer_admin_request(
            request.url.path, health, remark=watchdog.remark
        )
        return Response(body, status_code=status, headers={"content-type": content_type})

    return Starlette(routes=[Route(path, answer, methods=["GET", "HEAD"]) for path in _PATHS])

"""The HTTP surface is as its OpenAPI description says, for requests that Schemathesis generates from it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from docsite.http_api import DOCUMENT, PATHS
from pipecd.controlplane.http.app import application
from pipecd.controlplane.http.login import Login
from pipecd.controlplane.http.webhooks import Webhooks
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.loop_latency import run_beside_loop

#: What answers for a whole tree → how the description names it.
MOUNTED = {"/api": "/api/{service}/{method}", "/assets": "/assets/{path}", "/{path:path}": "/{path}"}


def paths_of(app: Any, prefix: str = "") -> Iterator[str]:
    for route in app.routes:
        path = prefix + route.path
        if path in MOUNTED:
            yield MOUNTED[path]
        elif isinstance(route, Mount):
            mounted: Any = route.app
            yield from paths_of(mounted._app, path)
        else:
            assert isinstance(route, Route)
            yield path


def test_every_route_is_described() -> None:
    app: Any = application(
        api=Starlette(),
        login=object.__new__(Login),
        webhooks=object.__new__(Webhooks),
        static_dir=None,
        https=False,
        address="",
        newcomer=None,
    )
    described = {path for path, item in PATHS.items() if "servers" not in item}
    assert set(paths_of(app._app)) == described, "describe the route in docsite/http_api.py"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    hooks = [{"provider": "GITHUB", "secret": "the secret of the webhook"}]
    async with control_plane(tmp_path, webhooks=hooks) as running:
        yield running


async def test_generated_requests_are_answered_as_described(plane: ControlPlane) -> None:
    from tests.controlplane.described_requests import send_generated_requests

    ports = plane.server.ports

    def base_of(path: str) -> str:
        return f"http://127.0.0.1:{ports.admin if 'servers' in PATHS[path] else ports.http}"

    await run_beside_loop(lambda: send_generated_requests(DOCUMENT, base_of))

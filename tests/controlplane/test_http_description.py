"""The HTTP surface is as its OpenAPI description says, for requests that Schemathesis generates from it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from docsite.http_api import DOCUMENT, PATHS
from pipecd.controlplane.http.app import application
from pipecd.controlplane.http.login import Login
from pipecd.controlplane.http.webhooks import Webhooks
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.loop_latency import run_beside_loop

#: No description lists the status 500.
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
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
    schema: Any = schemathesis.openapi.from_dict(dict(DOCUMENT))
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == sum(len(item.keys() - {"servers"}) for item in PATHS.values())
    ports = plane.server.ports

    def check(operation: Any, session: requests.Session) -> None:
        is_admin = "servers" in PATHS[operation.path]
        base = f"http://127.0.0.1:{ports.admin if is_admin else ports.http}"

        @EXAMPLES
        @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def send(case: Any) -> None:
            response = case.call(base_url=base, session=session, allow_redirects=False)
            case.validate_response(response, checks=CHECKS)

        send()

    def run() -> None:
        with requests.Session() as session:
            for operation in operations:
                check(operation, session)

    await run_beside_loop(run)

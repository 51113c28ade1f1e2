"""The HTTP and the admin port are as their OpenAPI description says, for valid and invalid requests.

Schemathesis generates both from the description. What it cannot say is in a table: methods, encodings, sizes.
"""

import gzip
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from docsite.http_api import DOCUMENT, PATHS
from pipecd.controlplane.http import admin
from pipecd.controlplane.http.app import application
from pipecd.controlplane.http.login import Login
from pipecd.controlplane.http.webhooks import Webhooks
from pipecd.controlplane.records.metrics import Metrics
from pipecd.watchdog import Watchdog
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
    served = set(paths_of(app._app))
    admin_app = admin.application(nothing, Watchdog(), object.__new__(Metrics))
    served_to_admins = set(paths_of(admin_app)) - {"/{path}"}
    described = {is_admin: set(paths) for is_admin, paths in paths_by_port().items()}
    assert described == {False: served, True: served_to_admins}, "describe it in docsite/http_api.py"


def paths_by_port() -> dict[bool, list[str]]:
    return {port: [path for path in PATHS if is_of_admin_port(path) is port] for port in (False, True)}


def is_of_admin_port(path: str) -> bool:
    return "servers" in PATHS[path]


async def nothing() -> str:
    return ""


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    hooks = [{"provider": "GITHUB", "secret": "the secret of the webhook"}]
    async with control_plane(tmp_path, webhooks=hooks) as running:
        yield running


def base_url(plane: ControlPlane, path: str) -> str:
    ports = plane.server.ports
    return f"http://127.0.0.1:{ports.admin if is_of_admin_port(path) else ports.http}"


async def test_generated_requests_are_answered_as_described(plane: ControlPlane) -> None:
    from tests.controlplane.described_requests import send_generated_requests

    await run_beside_loop(lambda: send_generated_requests(DOCUMENT, lambda path: base_url(plane, path)))


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "x")
NAMES = (
    "a" * 300,
    "a" * 5000,
    "%00",
    "%ff%fe",
    "..%2f..%2fetc%2fpasswd",
    "a/" * 400,
    "a%0d%0ab",
    ".",
    "é",
)
QUERIES = ("a=" + "b" * 30_000, "%ff=%00&=&&;", "project[]=a&project=b&project", "?" * 1000)
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
#: Type and content: of another type, not of the type, too many, too long, too deep, compressed or not.
BODIES: Mapping[str, tuple[Mapping[str, str], bytes]] = {
    "no type": ({}, b"{}"),
    "an unknown type": ({"content-type": "x/y; charset=?"}, b"\xff\x00"),
    "not UTF-8": ({"content-type": JSON}, b'{"a": "\xff"}'),
    "UTF-16": ({"content-type": f"{JSON}; charset=utf-16"}, '{"a": 1}'.encode("utf-16")),
    "deep": ({"content-type": JSON}, b"[" * 100_000),
    "a number of many digits": ({"content-type": JSON}, b"9" * 100_000),
    "not a form": ({"content-type": FORM}, b"\xff%zz&&&=;"),
    "many fields": ({"content-type": FORM}, b"&".join(b"f%d=1" % number for number in range(20_000))),
    "a long field": ({"content-type": FORM}, b"project=" + b"x" * 500_000),
    "multipart without a boundary": ({"content-type": "multipart/form-data"}, b"--x\r\n\r\n"),
    "multipart that does not end": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\ncontent-disposition: form-data; name="project"\r\n\r\n' + b"y" * 100_000,
    ),
    "not compressed": ({"content-type": JSON, "content-encoding": "gzip"}, b"{}"),
    "compressed a thousand times": (
        {"content-type": JSON, "content-encoding": "gzip"},
        gzip.compress(bytes(20_000_000)),
    ),
    "compressed in many parts": (
        {"content-type": JSON, "content-encoding": "gzip"},
        gzip.compress(b"") * 10_000,
    ),
    "an unknown compression": ({"content-type": JSON, "content-encoding": "a, b"}, b"{}"),
}


def invalid_requests(path: str) -> Iterator[tuple[str, str, Mapping[str, str], bytes]]:
    """Method, URL, headers and body."""
    url = path.format(service="grpc.service.webservice.WebService", method="GetMe", host="github", path="x")
    for method in METHODS:
        yield method, url, {}, b""
    for query in QUERIES:
        yield "GET", f"{url}?{query}", {}, b""
    for headers, body in BODIES.values():
        yield "POST", url, headers, body
    for name in NAMES if "{" in path else ():
        for method in ("GET", "POST"):
            yield method, path.format(service=name, method=name, host=name, path=name), {}, b"{}"
    yield "GET", url, {"accept-encoding": "gzip", "range": "bytes=9-1,-,a-b" + ",0-1" * 500}, b""


async def test_no_invalid_request_is_an_internal_error(plane: ControlPlane) -> None:
    cookies = dict(plane.console.http.cookies)

    def run() -> None:
        with httpx.Client(verify=False, timeout=60, cookies=cookies) as client:
            for path in PATHS:
                for method, url, headers, body in invalid_requests(path):
                    response = client.request(
                        method, base_url(plane, path) + url, headers=headers, content=body
                    )
                    # The method is one of Connect's, which has a code for it.
                    unknown = response.status_code == 501 and path.startswith("/api/")
                    assert response.status_code < 500 or unknown, (method, url[:80], headers, response.text)

    await run_beside_loop(run)

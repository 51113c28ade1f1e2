"""The HTTP port: sign-in, pages, headers and webhooks."""

import asyncio
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from pipecd.clock import SystemClock
from pipecd.controlplane.auth.known_browsers import LIFETIME, KnownBrowsers
from pipecd.controlplane.http.console import Assets
from pipecd.controlplane.settings import AuthSettings, Settings
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.controlplane.server_fixture import (
    ENCRYPTION_KEY,
    PASSWORD,
    PROJECT,
    USER,
    ControlPlane,
    control_plane,
)
from tests.loop_latency import loop_latency
from tests.virtual_clock import VirtualClock

SECRET = "the secret of the webhook"
HOOKS = [{"provider": name, "secret": SECRET} for name in ("GITHUB", "GITLAB", "BITBUCKET", "GITEA")]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path, webhooks=HOOKS) as running:
        yield running


@pytest.fixture
async def http(plane: ControlPlane) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=plane.url, timeout=60, verify=False) as client:
        yield client


@pytest.mark.parametrize(
    "form",
    [
        {"project": PROJECT, "username": USER, "password": "wrong"},
        {"project": PROJECT, "username": "missing", "password": PASSWORD},
        {"project": "nowhere", "username": USER, "password": PASSWORD},
        {"project": PROJECT, "username": USER, "password": "x" * 5000},
        {},
    ],
)
async def test_a_failed_sign_in_creates_no_session(http: httpx.AsyncClient, form: dict[str, str]) -> None:
    response = await http.post("/auth/login/static", data=form)
    assert response.status_code == 303
    assert "token" not in response.cookies
    assert "error" in response.cookies


@pytest.mark.parametrize(
    ("name", "accepted", "encoding"),
    [("a.js", "gzip, br", "gzip"), ("a.js", "br", None), ("a.js", "", None), ("plain.woff2", "gzip", None)],
)
async def test_scripts_are_sent_gzipped_to_browsers_that_accept_it(
    tmp_path: Path, name: str, accepted: str, encoding: str | None
) -> None:
    script = b"const answer = 42;" * 100
    for file in ("a.js", "plain.woff2"):
        (tmp_path / file).write_bytes(script)
    (tmp_path / "a.js.gz").write_bytes(gzip.compress(script))
    transport = httpx.ASGITransport(app=Starlette(routes=[Mount("/assets", app=Assets(directory=tmp_path))]))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://console/assets", verify=False
    ) as client:
        response = await client.get(f"/{name}", headers={"accept-encoding": accepted})
        again = await client.get(
            f"/{name}", headers={"accept-encoding": accepted, "if-none-match": response.headers["etag"]}
        )
        missing = await client.get("/b.js", headers={"accept-encoding": accepted})
    assert response.content == script
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["vary"] == "accept-encoding"
    assert "immutable" in response.headers["cache-control"]
    assert ("javascript" in response.headers["content-type"]) is (name == "a.js")
    assert (again.status_code, missing.status_code) == (304, 404)


async def test_the_session_cookie_is_inaccessible_to_scripts(http: httpx.AsyncClient) -> None:
    form = {"project": PROJECT, "username": USER, "password": PASSWORD}
    response = await http.post("/auth/login/static", data=form)
    cookie = next(value for value in response.headers.get_list("set-cookie") if value.startswith("token="))
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie


def test_a_cookie_of_a_known_browser_is_valid_for_one_user() -> None:
    clock = VirtualClock()
    browsers = KnownBrowsers(ENCRYPTION_KEY, clock)
    cookie = browsers.issue("shop", "ann")
    id = browsers.read(cookie, "shop", "ann")
    assert id and browsers.read(browsers.issue("shop", "ann", id), "shop", "ann") == id
    forged = KnownBrowsers(b"x" * 40, clock).issue("shop", "ann")
    for other in (forged, "", "a.b.c", cookie[:-3]):
        assert browsers.read(other, "shop", "ann") == ""
    assert browsers.read(cookie, "shop", "bob") == browsers.read(cookie, "other", "ann") == ""
    clock.jump(LIFETIME)
    assert browsers.read(cookie, "shop", "ann") == ""


async def test_guesses_at_the_same_time_are_throttled(tmp_path: Path) -> None:
    """Of a burst, as many are evaluated as one after another. The right one after it is not evaluated."""
    settings = Settings(auth=AuthSettings(max_failures=3))
    async with control_plane(tmp_path, settings=settings) as plane:

        async def guess(password: str) -> httpx.Response:
            form = {"project": "other", "username": USER, "password": password}
            return await plane.console.http.post(f"{plane.url}/auth/login/static", data=form)

        responses = await asyncio.gather(*(guess(f"guess {number}") for number in range(30)))
        responses.append(await guess(PASSWORD))
        rejected = [response for response in responses if "Too%20many" in response.headers["set-cookie"]]
        assert len(rejected) == len(responses) - 3
        assert not [response for response in responses if "token" in response.cookies]


class StoppedClock(SystemClock):
    """No time passes between two requests, however slow the machine is; sleeping takes its time."""

    def __init__(self) -> None:
        self._start = super().now()

    def now(self) -> float:
        return self._start

    def monotonic(self) -> float:
        return 0.0


async def test_an_attack_from_many_addresses_does_not_lock_the_owner_out(tmp_path: Path) -> None:
    settings = Settings(auth=AuthSettings(max_failures_of_account=5))
    async with control_plane(
        tmp_path, settings=settings, clock=StoppedClock(), trustedProxies=["127.0.0.0/8"]
    ) as plane:
        http, owner = plane.console.http, httpx.AsyncClient(base_url=plane.url, timeout=60, verify=False)

        async def sign_in(client: httpx.AsyncClient, password: str, address: str) -> bool:
            form = {"project": PROJECT, "username": USER, "password": password}
            headers = {"x-forwarded-for": address}
            response = await client.post(f"{plane.url}/auth/login/static", data=form, headers=headers)
            return "token=" in response.headers["set-cookie"]

        async with owner:
            assert await sign_in(owner, PASSWORD, "203.0.113.1")
            http.cookies.clear()
            guesses = [sign_in(http, PASSWORD + "?", f"198.51.100.{number}") for number in range(40)]
            assert not any(await asyncio.gather(*guesses))
            unknown_browser = httpx.AsyncClient(timeout=60, verify=False)
            async with unknown_browser:
                assert not await sign_in(unknown_browser, PASSWORD, "198.51.100.99"), "it is delayed"
            assert await sign_in(owner, PASSWORD, "203.0.113.2"), "its browser is known"


async def test_failed_sign_ins_behind_a_trusted_proxy_are_counted_by_client(tmp_path: Path) -> None:
    settings = Settings(auth=AuthSettings(max_failures=1))
    for networks, throttled in ([], True), (["127.0.0.0/8"], False):
        folder = tmp_path / str(throttled)
        async with control_plane(folder, settings=settings, trustedProxies=networks) as plane:
            plane.console.http.cookies.clear()
            for client in ("203.0.113.1", "203.0.113.2"):
                response = await plane.console.http.post(
                    f"{plane.url}/auth/login/static",
                    data={"project": PROJECT, "username": USER, "password": "wrong"},
                    headers={"x-forwarded-for": client},
                )
            assert ("Too%20many" in response.headers["set-cookie"]) == throttled


async def test_every_page_has_security_headers(http: httpx.AsyncClient) -> None:
    response = await http.get("/applications/some/deep/link")
    assert response.status_code in (200, 503)
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert (await http.get("/api/nothing")).status_code == 404
    assert (await http.get("/..%2f..%2fetc%2fpasswd")).text.find("root:") == -1


async def test_without_a_quickstart_there_is_no_getting_started_content(http: httpx.AsyncClient) -> None:
    response = await http.get("/quickstart.json")
    assert (response.status_code, response.json()) == (200, None)


def _sign(host: str, body: bytes, secret: str) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "github": {"x-hub-signature-256": f"sha256={digest}"},
        "bitbucket": {"x-hub-signature": f"sha256={digest}"},
        "gitea": {"x-gitea-signature": digest},
        "gitlab": {"x-gitlab-token": secret},
    }[host]


BODIES = {
    "github": {"repository": {"clone_url": "https://git.example/shop/config.git"}},
    "gitea": {"repository": {"clone_url": "https://git.example/shop/config.git"}},
    "gitlab": {"project": {"git_http_url": "https://git.example/shop/config.git"}},
    "bitbucket": {"repository": {"links": {"html": {"href": "https://git.example/shop/config"}}}},
}


async def _register_agent(plane: ControlPlane) -> str:
    piped_id, _ = await plane.register_piped()

    def add_repository(record: Piped) -> None:
        remote = "git@git.example:shop/config.git"
        record.repositories.append(ApplicationGitRepository(id="config", remote=remote, branch="main"))

    await plane.server.services.store.update(Piped, piped_id, add_repository, by=TESTER)
    return piped_id


@pytest.mark.parametrize("host", sorted(BODIES))
async def test_a_push_notifies_the_agents_that_use_the_repository(
    plane: ControlPlane, http: httpx.AsyncClient, host: str
) -> None:
    piped_id = await _register_agent(plane)
    body = json.dumps(BODIES[host]).encode()
    with plane.server.services.store.feed.subscribe() as changes:
        response = await http.post(f"/hooks/{host}", content=body, headers=_sign(host, body, SECRET))
        assert response.status_code == 200, response.text
        async with asyncio.timeout(60):
            while (change := await changes.get()).kind != "repository":
                pass
    assert (change.piped_id, change.id) == (piped_id, "git@git.example:shop/config.git")


@pytest.mark.parametrize("host", sorted(BODIES))
async def test_a_forged_push_is_rejected(plane: ControlPlane, http: httpx.AsyncClient, host: str) -> None:
    """Invariant 15."""
    await _register_agent(plane)
    body = json.dumps(BODIES[host]).encode()
    for headers in ({}, _sign(host, body, "guessed"), _sign(host, body + b" ", "the secret")):
        response = await http.post(f"/hooks/{host}", content=body, headers=headers)
        assert response.status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"payload=", 400),
        (b"payload=%7B", 400),
        (b"payload=x&" * 100_000, 400),
        (b"[" * 1_000_000, 400),
        (b"[]", 200),
        (b"null", 200),
        (b"payload=%7B%7D", 200),
        (b'{"repository": 3}', 200),
        (b'{"repository": {"clone_url": "http://[", "ssh_url": "\\u0000\\ud800"}}', 200),
        (b'{"repository": {"clone_url": "' + b"a" * 3_000_000 + b'"}}', 200),
        (json.dumps({"repository": [{"clone_url": f"u{number}"} for number in range(100)]}).encode(), 400),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else None,
)
async def test_a_malformed_event_is_answered(
    plane: ControlPlane, http: httpx.AsyncClient, body: bytes, status: int
) -> None:
    await _register_agent(plane)
    async with loop_latency() as latency:
        response = await http.post("/hooks/gitea", content=body, headers=_sign("gitea", body, SECRET))
    assert response.status_code == status, response.text
    latency.check()


async def test_an_unknown_host_and_an_oversized_event_are_rejected(http: httpx.AsyncClient) -> None:
    assert (await http.post("/hooks/sourceforge", content=b"{}")).status_code == 404
    assert (await http.post("/hooks/gitea", content=b"x" * (6 * 1024 * 1024))).status_code == 413

"""Hostile cookies, tokens, states, cursors and filters on the HTTP port, found by Hypothesis.

No answer is an internal error, no answer to a changed credential is a success, and the event loop is not
blocked. Hypothesis runs in a thread with a client of its own, and shrinks what it finds.
`FUZZ_ROUNDS` extends it.
"""

import base64
import json
import os
import string
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipecd.controlplane.auth.sessions import COOKIE
from tests.controlplane.server_fixture import PROJECT, ControlPlane, control_plane
from tests.loop_latency import run_beside_loop

EXAMPLES = settings(
    max_examples=12 * int(os.environ.get("FUZZ_ROUNDS", "6")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

HEADERS = (
    *("x-forwarded-for", "origin", "host", "referer", "traceparent", "x-hub-signature-256", "range"),
    *("accept-encoding", "content-type", "connect-protocol-version", "connect-timeout-ms", "if-none-match"),
)
#: Values of headers are sent as bytes: everything that HTTP allows.
HEADER_TEXT = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=300
)
ANY_TEXT = st.text(max_size=200)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)
BASE64 = st.binary(max_size=120).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="))


@st.composite
def jwt(draw: Callable[..., Any]) -> str:
    """Looks like a session: a header with any algorithm, claims of any type, any signature."""
    algorithm = st.sampled_from(["none", "HS256", "HS512", "RS256", "", "é"])
    header = draw(st.fixed_dictionaries({"alg": algorithm, "typ": st.just("JWT")}) | JSON_VALUES)
    names = st.sampled_from(["sub", "exp", "iat", "nbf", "project", "roles", "sid", "epoch", "groups"])
    claims = draw(st.dictionaries(names, JSON_VALUES, max_size=6) | JSON_VALUES)

    def encode(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{encode(header)}.{encode(claims)}.{draw(BASE64)}"


@st.composite
def changed(draw: Callable[..., Any], token: str) -> str:
    """A valid token with one change."""
    position = draw(st.integers(0, len(token) - 1))
    match draw(st.integers(0, 3)):
        case 0:
            return token[:position]
        case 1:
            character: str = draw(st.sampled_from(string.ascii_letters + string.digits + "-_."))
            return token[:position] + character + token[position + 1 :]
        case 2:
            return token[position:] + token[:position]
    more: str = draw(st.text(string.ascii_letters + "._-", min_size=1, max_size=50))
    return token + more


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


async def fuzz(plane: ControlPlane, run: Callable[[httpx.Client], None]) -> None:
    def in_thread() -> None:
        with httpx.Client(base_url=plane.url, timeout=60, verify=False) as client:
            run(client)

    await run_beside_loop(in_thread)


def call(
    client: httpx.Client, method: str, headers: Mapping[bytes, bytes], body: bytes = b"{}"
) -> httpx.Response:
    service = (
        "pipecd.v1.ConsoleService" if method.startswith("Page") else "grpc.service.webservice.WebService"
    )
    path = f"/api/{service}/{method}"
    return client.post(path, content=body, headers={b"content-type": b"application/json", **headers})


async def test_no_cookie_but_the_own_one_is_a_session(plane: ControlPlane) -> None:
    valid = plane.console.http.cookies[COOKIE]

    def run(client: httpx.Client) -> None:
        @EXAMPLES
        @given(jwt() | changed(valid) | HEADER_TEXT)
        def check(token: str) -> None:
            headers = {b"cookie": f"{COOKIE}={token}".strip().encode("latin-1", "replace")}
            response = call(client, "GetMe", headers)
            if token.split(";")[0].strip() != valid:
                # A signature has spare bits in its last character: the same bytes are the same session.
                same = token[:-1] == valid[:-1] and len(token) == len(valid)
                assert response.status_code in (400, 401) or same, response.text
            assert client.get("/", headers=headers).status_code == 200

        check()

    await fuzz(plane, run)


async def test_states_and_codes_of_sign_ins_are_never_an_internal_error(plane: ControlPlane) -> None:
    def run(client: httpx.Client) -> None:
        @EXAMPLES
        @given(
            st.dictionaries(
                st.sampled_from(["state", "code", "error", "error_description", "project", "iss"]), ANY_TEXT
            ),
            jwt() | HEADER_TEXT,
            st.sampled_from(["state", "pipecd_sign_in", "error", COOKIE]),
            st.sampled_from([PROJECT, "missing", "\0", ""]),
        )
        def check(query: dict[str, str], cookie: str, name: str, project: str) -> None:
            headers = {b"cookie": f"{name}={cookie}".strip().encode("latin-1", "replace")}
            for response in (
                client.get("/auth/callback", params=query, headers=headers),
                client.get("/auth/login", params={"project": project, **query}, headers=headers),
                client.post("/auth/login", data={"project": project, **query}, headers=headers),
            ):
                assert response.status_code < 500, response.text
                assert COOKIE not in response.cookies, "no user is signed in"
                location = response.headers.get("location", "/")
                assert location.startswith("/") and not location.startswith("//"), location

        check()

    await fuzz(plane, run)


async def test_cursors_and_filters_are_never_an_internal_error(plane: ControlPlane) -> None:
    cookie = {b"cookie": f"{COOKIE}={plane.console.http.cookies[COOKIE]}".encode()}
    cursors = (
        BASE64
        | ANY_TEXT
        | JSON_VALUES.map(lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode())
    )
    options = st.fixed_dictionaries(
        {},
        optional={
            "labels": st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=5),
            "applicationName": ANY_TEXT,
            "name": ANY_TEXT,
            "words": st.lists(ANY_TEXT, max_size=4),
            "statuses": st.lists(st.integers(-5, 99), max_size=4),
            "kinds": st.lists(st.integers(-5, 99) | ANY_TEXT, max_size=4),
            "enabled": JSON_VALUES,
        },
    )

    def run(client: httpx.Client) -> None:
        @EXAMPLES
        @given(
            st.sampled_from(["ListDeployments", "ListEvents", "ListDeploymentTraces", "PageApplications"]),
            cursors,
            options | JSON_VALUES,
            st.integers(-(2**70), 2**70) | JSON_VALUES,
        )
        def check(method: str, cursor: str, chosen: Any, size: Any) -> None:
            request = {"cursor": cursor, "options": chosen, "pageSize": size, "pageMinUpdatedAt": size}
            for fields in (
                request,
                {**request, "pageSize": 10, "pageMinUpdatedAt": 1},
                {"cursor": cursor, "pageSize": 5},
            ):
                response = call(client, method, cookie, json.dumps(fields).encode("utf-8", "replace"))
                assert response.status_code in (200, 400, 404, 413, 429), (
                    response.status_code,
                    response.text,
                )

        check()

    await fuzz(plane, run)


async def test_headers_of_webhooks_and_clients_are_never_an_internal_error(plane: ControlPlane) -> None:
    def run(client: httpx.Client) -> None:
        names = st.sampled_from(HEADERS)

        @EXAMPLES
        @given(st.dictionaries(names, HEADER_TEXT, max_size=4), st.sampled_from(["github", "gitlab", "x"]))
        def check(headers: dict[str, str], host: str) -> None:
            encoded = {
                name.encode(): value.strip().encode("latin-1", "replace") for name, value in headers.items()
            }
            for response in (
                client.post(f"/hooks/{host}", content=b"{}", headers=encoded),
                client.get("/", headers=encoded),
                call(client, "GetMe", encoded),
            ):
                assert response.status_code < 500 or response.status_code == 501, response.text

        check()

    await fuzz(plane, run)

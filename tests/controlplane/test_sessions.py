"""Sessions of the console end on the server, and other sites can neither start nor end one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from grpc import aio

from pipecd.controlplane.auth import passwords
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.http.origin import is_foreign
from pipecd.controlplane.store.tables import audit
from pipecd.model.access import ADMIN, VIEWER
from pipecd.model.browser import describe_browser
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.pipecd.v1.console_pb2 import ConsoleChange, ConsoleWatchRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from tests.actors import TESTER
from tests.controlplane.console_changes import kinds_reported
from tests.controlplane.server_fixture import (
    PASSWORD,
    PASSWORD_HASH,
    PROJECT,
    USER,
    CallFailed,
    Console,
    ControlPlane,
    control_plane,
)
from tests.raw_grpc import read

#: A project in the store, which the API can change.
STORED = "stored"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        project = Project(id=STORED, created_at=1, updated_at=1)
        project.static_admin.username, project.static_admin.password_hash = USER, PASSWORD_HASH
        await running.server.services.store.create(project, by=TESTER)
        yield running


@asynccontextmanager
async def signed_in(
    plane: ControlPlane, project: str = STORED, password: str = PASSWORD
) -> AsyncIterator[Console]:
    console = Console(plane.url)
    async with console.http:
        await console.sign_in(project=project, password=password)
        yield console


async def is_signed_in(console: Console) -> bool:
    try:
        await console.call("GetMe")
    except CallFailed as error:
        assert error.code == "unauthenticated"
        return False
    return True


async def test_signing_out_ends_the_session_on_the_server(plane: ControlPlane) -> None:
    """A stolen cookie is worthless afterwards."""
    async with signed_in(plane) as console, signed_in(plane) as other:
        token = console.http.cookies["token"]
        response = await console.http.post(f"{plane.url}/auth/logout")
        assert (response.status_code, response.headers["location"]) == (303, "/")
        assert "token" not in console.http.cookies
        console.http.cookies.set("token", token)
        assert not await is_signed_in(console)
        assert (await console.http.post(f"{plane.url}/auth/logout")).status_code == 303, "again"
        assert await is_signed_in(other), "another session of the same user"


async def change_password(console: Console) -> None:
    await console.call("UpdateProjectStaticAdmin", username=USER, password="another long password")


async def rename(console: Console) -> None:
    await console.call("UpdateProjectStaticAdmin", username="another", password=PASSWORD)


async def disable(console: Console) -> None:
    await console.call("DisableStaticAdmin")


REVOCATIONS = [change_password, rename, disable]
Revocation = Callable[[Console], Awaitable[None]]


@pytest.mark.parametrize("revoke", REVOCATIONS, ids=lambda revoke: revoke.__name__)
async def test_revoked_access_ends_every_session(
    plane: ControlPlane, revoke: Revocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "hash_password", lambda _: PASSWORD_HASH.replace("m=8", "m=9"))
    async with signed_in(plane) as console, signed_in(plane) as other, signed_in(plane, PROJECT) as elsewhere:
        await revoke(console)
        assert not await is_signed_in(console)
        assert not await is_signed_in(other)
        assert await is_signed_in(elsewhere)


async def test_a_new_password_in_the_configuration_file_ends_the_sessions(tmp_path: Path) -> None:
    def projects(password_hash: str) -> list[object]:
        admin = {"username": USER, "passwordHash": password_hash}
        return [{"id": PROJECT, "staticAdmin": admin}]

    async with control_plane(tmp_path) as plane:
        token = plane.console.http.cookies["token"]
    for password_hash, valid in ((PASSWORD_HASH, True), (passwords.hash_password(PASSWORD), False)):
        async with control_plane(tmp_path, projects=projects(password_hash)) as plane:
            plane.console.http.cookies.clear()
            plane.console.http.cookies.set("token", token)
            assert await is_signed_in(plane.console) is valid


async def test_an_open_stream_ends_with_its_session_and_follows_its_roles(plane: ControlPlane) -> None:
    """At once: the next heartbeat would be ten seconds later."""
    services = plane.server.services
    resource = ProjectRBACResource(type=ProjectRBACResource.APPLICATION)
    policy = ProjectRBACPolicy(resources=[resource], actions=[ProjectRBACPolicy.LIST])

    def add_role(project: Project) -> None:
        project.rbac_roles.append(ProjectRBACRole(name="watcher", policies=[policy]))

    await services.store.update(Project, STORED, add_role, by=TESTER)
    colleague = await services.sessions.start(
        Session(project_id=STORED, username="ann", roles=("watcher",)), by=TESTER
    )
    async with signed_in(plane) as admin, aio.insecure_channel(plane.address) as channel:
        stub = ConsoleServiceStub(channel)
        stream = stub.Watch(ConsoleWatchRequest(), metadata=(("cookie", f"token={colleague}"),))
        assert (await read(stream)).kind == ConsoleChange.HEARTBEAT

        reported = partial(kinds_reported, stream, services.store, STORED, within=8)
        assert ConsoleChange.APPLICATION in await reported("before")
        await admin.call("DeleteProjectRBACRole", name="watcher")
        assert ConsoleChange.APPLICATION not in await reported("after")
        await admin.http.post(f"{admin.base}/auth/logout", headers={"cookie": f"token={colleague}"})
        with pytest.raises(aio.AioRpcError) as ended:
            async with asyncio.timeout(8):
                while await stream.read() is not aio.EOF:
                    pass
        assert ended.value.code().name == "UNAUTHENTICATED"


async def test_users_list_and_end_their_own_sessions_and_administrators_all(plane: ControlPlane) -> None:
    services = plane.server.services
    # As a user of single sign-on who has the name of the static admin.
    namesake = Session(project_id=STORED, username=USER, roles=(VIEWER,), credential="")
    token = await services.sessions.start(namesake, address="203.0.113.9", by=TESTER)
    async with signed_in(plane) as console, signed_in(plane) as other, signed_in(plane, PROJECT) as elsewhere:
        browser = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
        third = Console(plane.url)
        third.http.headers.update(browser)
        await third.sign_in(project=STORED)
        own = (await console.call("ListOwnSessions")).sessions
        assert [(one.username, one.source, list(one.roles), one.address) for one in own] == [
            (USER, "PASSWORD", [ADMIN], "127.0.0.1")
        ] * 3, "neither the namesake nor another project"
        assert [one.current for one in own].count(True) == 1
        assert [one.browser for one in own].count("Firefox on Linux") == 1
        listed = (await console.call("ListSessions")).sessions
        assert {one.id for one in own} < {one.id for one in listed}
        (foreign,) = [one for one in listed if one.address == "203.0.113.9"]
        assert (await console.call("EndOwnSessions", ids=[foreign.id])).ended == 0, "it is not theirs"
        (firefox,) = [one.id for one in own if one.browser]
        assert (await console.call("EndOwnSessions", ids=[firefox, firefox, "unknown"])).ended == 1
        assert not await is_signed_in(third)
        assert (await elsewhere.call("EndSessions", ids=[foreign.id])).ended == 0, "another project"

        viewer = Console(plane.url)
        viewer.http.cookies.set("token", token)
        assert [one.id for one in (await viewer.call("ListOwnSessions")).sessions] == [foreign.id]
        for method in ("ListSessions", "EndSessions"):
            with pytest.raises(
                CallFailed, match="do not allow you to administer the project; ask an administrator"
            ):
                await viewer.call(method)
        assert (await console.call("EndSessions", ids=[foreign.id])).ended == 1
        assert not await is_signed_in(viewer)
        assert (await console.call("EndOwnSessions", all_others=True)).ended == 1
        assert (await is_signed_in(console), await is_signed_in(other)) == (True, False)
        for http in (third.http, viewer.http):
            await http.aclose()


async def test_the_list_leaves_out_sessions_that_a_changed_password_has_ended(plane: ControlPlane) -> None:
    services = plane.server.services
    async with signed_in(plane) as console:
        assert len((await console.call("ListSessions")).sessions) == 1
        colleague = Session(project_id=STORED, username="ann", roles=(ADMIN,))
        console.http.cookies.clear()
        console.http.cookies.set("token", await services.sessions.start(colleague, by=TESTER))

        def change(project: Project) -> None:
            project.static_admin.password_hash = "$argon2id$another"

        await services.store.update(Project, STORED, change, by=TESTER)
        assert [one.username for one in (await console.call("ListSessions")).sessions] == ["ann"]


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0"
            " Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile"
            " Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iOS",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " Version/18.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        ("curl/8.5.0", "curl"),
        ("Windows", "Windows"),
        ("", ""),
        ("<script>", ""),
    ],
)
def test_a_session_names_its_browser(user_agent: str, expected: str) -> None:
    assert describe_browser(user_agent) == expected


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_another_site_can_neither_sign_in_nor_sign_out_nor_call(
    plane: ControlPlane, headers: dict[str, str]
) -> None:
    form = {"project": PROJECT, "username": USER, "password": PASSWORD}
    async with httpx.AsyncClient(base_url=plane.url, verify=False) as http, signed_in(plane) as console:
        response = await http.post("/auth/login/static", data=form, headers=headers)
        assert response.status_code == 403
        assert "set-cookie" not in response.headers
        cookies = {"cookie": f"token={console.http.cookies['token']}"}
        response = await http.post("/auth/logout", headers=headers | cookies)
        assert response.status_code == 403
        assert "set-cookie" not in response.headers, "it would delete the cookie"
        method = "/api/grpc.service.webservice.WebService/GetMe"
        assert (await http.post(method, json={}, headers=headers | cookies)).status_code == 403
        assert await is_signed_in(console)


async def test_signing_out_by_a_link_is_impossible(plane: ControlPlane) -> None:
    async with signed_in(plane) as console:
        response = await console.http.get(
            f"{plane.url}/auth/logout", headers={"sec-fetch-site": "same-origin"}
        )
        assert response.status_code == 405
        assert await is_signed_in(console)


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://a.example", "host": "backend:9082"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://Console.example", "host": "console.example"}, False),
        ({"origin": "https://console.example:8443", "host": "console.example:8443"}, False),
        ({"origin": "https://console.example", "host": "backend:9082"}, False),
        ({"origin": "https://console.example.evil.example", "host": "console.example"}, True),
        ({"origin": "https://[", "host": "console.example"}, True),
        ({"origin": "null", "host": "null"}, True),
    ],
)
def test_the_origin_decides_where_the_browser_does_not_say(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(headers, "https://console.example") is foreign


async def test_starting_and_ending_a_session_is_recorded(plane: ControlPlane) -> None:
    store = plane.server.services.store
    async with signed_in(plane) as console:
        await console.http.post(f"{plane.url}/auth/logout")
    query = sa.select(audit).where(audit.c.record_kind == "session", audit.c.project_id == STORED)
    rows = await store.database.rows(query.order_by(audit.c.seq))
    assert [(row.operation, row.action, row.actor_id, row.address) for row in rows] == [
        ("create", "sign-in", USER, "127.0.0.1"),
        ("delete", "sign-out", USER, "127.0.0.1"),
    ]
    assert ADMIN in rows[0].after
    assert rows[0].record_id == rows[1].record_id

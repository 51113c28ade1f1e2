"""Invariant 18 through every door: each call that changes something leaves a row that names its caller."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from grpc import aio

from pipecd import controlplane
from pipecd.controlplane.auth.keys import hash_key, new_api_key, new_piped_key
from pipecd.controlplane.auth.sessions import COOKIE, Session
from pipecd.controlplane.jobs import JOBS
from pipecd.controlplane.rpc.method import ApiKey, Method, PipedKey
from pipecd.controlplane.rpc.table import methods
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import sessions, tables
from pipecd.model.access import ADMIN, VIEWER
from pipecd.model.audit_sentence import SENTENCES
from pipecd.schema.model import piped_pb2
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.secrets import MASK
from tests.actors import TESTER
from tests.controlplane.server_fixture import (
    ENCRYPTION_KEY,
    PROJECT,
    USER,
    ControlPlane,
    control_plane,
    spec,
)
from tests.controlplane.writing_calls import (
    NEED_A_SERVER,
    NEED_AN_AGENT,
    NOT_AUDITED,
    REPOSITORY,
    TEAM,
    WRITES,
    records,
)
from tests.eventually import eventually
from tests.raw_grpc import unary

#: Calls that this control plane refuses.
UNSUPPORTED: set[str] = set()
#: Words with which the names of calls begin that only read.
READING = ("Get", "List", "InChain", "Encrypt", "GenerateApplicationSealedSecret", "Page", "See", "Verify")


def key_of(method: Method) -> str:
    return f"{method.service.rpartition('.')[2]}/{method.name}"


METHODS = {key_of(method): method for path, method in methods().items() if not path.startswith("/pipe.")}


async def rows(services: Services, after: int = 0) -> Sequence[Any]:
    query = sa.select(tables.audit).where(tables.audit.c.seq > after).order_by(tables.audit.c.seq)
    return await services.store.database.rows(query)


async def last_row(services: Services) -> Any:
    return (await rows(services))[-1]


@dataclass
class Team:
    """The project of `writing_calls`, with the credentials of an agent, a program and a person."""

    plane: ControlPlane
    channel: aio.Channel
    key_id: str
    credentials: dict[type, tuple[str, str]]

    @property
    def services(self) -> Services:
        return self.plane.server.services

    async def call(self, method: Method, fields: dict[str, Any], *metadata: tuple[str, str]) -> Message:
        kind = type(method.needs) if isinstance(method.needs, PipedKey | ApiKey) else Session
        request = method.request(**fields)
        data = await unary(self.channel, method.path)(
            request.SerializeToString(), metadata=(self.credentials[kind], *metadata), timeout=60
        )
        return method.response.FromString(data)

    def actor(self, method: Method) -> tuple[str, str, str]:
        """Kind, ID and name of the caller of `method`."""
        if isinstance(method.needs, PipedKey):
            return ("piped", "home", "Home")
        if isinstance(method.needs, ApiKey):
            return ("api_key", self.key_id, "ci")
        return ("person", "ann", "ann")


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    # Without jobs, which would change the records, and add rows between those of the calls.
    async with control_plane(tmp_path, with_jobs=False) as running:
        yield running


async def open_team(plane: ControlPlane, channel: aio.Channel) -> Team:
    services = plane.server.services
    piped_key, (key_id, api_key) = new_piped_key(), new_api_key()
    stored_key = piped_pb2.PipedKey(hash=hash_key(piped_key), creator="me", created_at=1)
    callers = [
        Piped(id="home", name="Home", project_id=TEAM, keys=[stored_key], repositories=[REPOSITORY]),
        APIKey(
            id=key_id,
            name="ci",
            project_id=TEAM,
            key_hash=hash_key(api_key),
            role=APIKey.ADMIN,
            # The time of its last use is not stored again during the test.
            last_used_at=services.now() + 10_000,
        ),
    ]
    for record in [*records(), *callers]:
        await services.store.create(record, by=TESTER)
    session = Session(project_id=TEAM, username="ann", roles=(ADMIN,))
    for index in range(3):
        await add_session(services, f"ann-{index}")
    return Team(
        plane,
        channel,
        key_id,
        {
            PipedKey: ("authorization", f"PIPED-TOKEN {TEAM},home,{piped_key}"),
            ApiKey: ("authorization", f"API-KEY {api_key}"),
            Session: ("cookie", f"{COOKIE}={await services.sessions.start(session, by=TESTER)}"),
        },
    )


async def add_session(services: Services, id: str) -> None:
    """A session of the user with a known id."""
    claims = json.dumps({"roles": [ADMIN], "groups": [], "credential": "", "mac": services.sessions.mac(id)})
    now = services.now()
    row: dict[str, str | int] = {
        "id": id,
        "project_id": TEAM,
        "username": "ann",
        "source": "PASSWORD",
        "claims": claims,
    }
    row |= {"started_at": now, "last_seen_at": now, "expires_at": now + 1000}
    row |= {"address": "", "last_address": "", "user_agent": ""}
    await sessions.create(services.store, row, {}, max_sessions=100, now=now, by=TESTER)


@pytest.fixture
async def team(plane: ControlPlane) -> AsyncIterator[Team]:
    async with aio.insecure_channel(plane.address) as channel:
        yield await open_team(plane, channel)


async def test_every_writing_call_leaves_a_row_with_its_caller(team: Team) -> None:
    for key, expected in WRITES.items():
        method = METHODS[key]
        assert method.name in SENTENCES, "add a sentence to model/audit_sentence.py"
        before = (await last_row(team.services)).seq
        await team.call(method, dict(expected.fields))
        added = await rows(team.services, before)
        assert added, f"{key} left no row"
        for row in added:
            assert (row.actor_kind, row.actor_id, row.actor_name) == team.actor(method), key
            assert (row.actor_project_id, row.address, row.action) == (TEAM, "127.0.0.1", method.path), key
            assert row.project_id == TEAM, key
        written = [(row.record_kind, row.record_id) for row in added]
        if expected.id:
            assert (expected.kind, expected.id) in written, key
        else:
            assert expected.kind in [kind for kind, _ in written], key
        assert all((row.before, row.after) != ("{}", "{}") for row in added), key


async def test_every_call_writes_reads_or_is_known_not_to_be_audited(team: Team) -> None:
    """Fails for a new call until it is listed; calls that read leave no row."""
    unlisted = {
        key
        for key, method in METHODS.items()
        if not method.streams
        and key not in WRITES | NOT_AUDITED.keys() | NEED_AN_AGENT | NEED_A_SERVER | UNSUPPORTED
        if not method.name.startswith(READING)
    }
    assert unlisted == set(), "add a request for it to tests/controlplane/writing_calls.py"
    before = (await last_row(team.services)).seq
    for key, fields in NOT_AUDITED.items():
        await team.call(METHODS[key], dict(fields))
    answered = 0
    for method in METHODS.values():
        if method.name.startswith(READING) and not method.streams:
            try:
                await team.call(method, {"application_id": "app"} if has_application(method) else {})
                answered += 1
            except aio.AioRpcError as error:
                assert error.code() is not grpc.StatusCode.INTERNAL, (method.path, error.details())
    assert answered > 20
    assert [row for row in await rows(team.services, before) if row.operation != "refuse"] == []


def has_application(method: Method) -> bool:
    return "application_id" in method.request.DESCRIPTOR.fields_by_name


def set_role(key: APIKey, *, role: APIKey.Role.ValueType) -> None:
    key.role = role


async def test_the_first_use_of_an_api_key_does_not_read_as_a_change_of_it(team: Team) -> None:
    def forget_use(key: APIKey) -> None:
        key.last_used_at = 0

    await team.services.store.update(APIKey, team.key_id, forget_use, by=TESTER)
    await team.call(METHODS["ProgramService/ListAudit"], {})
    (entry,) = (await team.call(METHODS["ConsoleService/ListAudit"], {"page_size": 1})).entries  # type: ignore[attr-defined]
    assert (entry.actor_name, entry.summary) == ("ci", "used API key ci")


async def test_a_refused_call_leaves_no_row(team: Team) -> None:
    before = (await last_row(team.services)).seq
    refused: dict[str, dict[str, Any]] = {
        "WebService/ApproveStage": {"deployment_id": "running", "stage_id": "analysis"},
        "PipedService/ReportStageStatusChanged": {
            "deployment_id": "running",
            "stage_id": "stage",
            "completed_at": 1,
        },
        "APIService/DeleteApplication": {"application_id": "missing"},
    }
    for key, fields in refused.items():
        with pytest.raises(aio.AioRpcError):
            await team.call(METHODS[key], fields)
    assert await rows(team.services, before) == []


async def test_the_console_leaves_rows_over_connect(plane: ControlPlane) -> None:
    await plane.register_piped("home")
    row = await last_row(plane.server.services)
    assert (row.actor_kind, row.actor_id, row.address) == ("person", USER, "127.0.0.1")
    assert row.action.endswith("WebService/RegisterPiped")
    recorded = json.loads(row.after)
    assert (recorded["name"], recorded["keys[0].hash"]) == ("home", MASK)
    assert recorded["keys[0].creator"] == USER


async def test_a_job_leaves_rows(plane: ControlPlane) -> None:
    services = plane.server.services
    await services.store.create(Command(id="old", project_id="shop", created_at=1), by=TESTER)
    (job,) = (job for job in JOBS if job.name == "expire-commands")
    await job.run(services, job.actor)
    row = await last_row(services)
    assert (row.actor_kind, row.actor_id, row.action) == ("job", "expire-commands", "expire-commands")
    assert (row.actor_project_id, row.address, row.project_id) == ("", "", "shop")
    assert json.loads(row.before) == {} and json.loads(row.after)["status"] == "COMMAND_TIMEOUT"


async def test_a_changed_static_admin_in_the_configuration_leaves_a_row(tmp_path: Path) -> None:
    """The configuration file decides who may sign in: a start that changes this is recorded."""
    async with control_plane(tmp_path) as plane:
        started = [row for row in await rows(plane.server.services) if row.record_kind != "session"]
    assert [(row.record_kind, row.record_id, row.operation) for row in started] == [
        ("configured_project", PROJECT, "create"),
        ("configured_project", "other", "create"),
    ]
    (row, _) = started
    assert (row.actor_kind, row.actor_id, row.action, row.address) == ("operator", "operator", "start", "")
    assert json.loads(row.after)["static_admin.password_hash"] == MASK
    password_hash = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"
    projects = [
        {"id": PROJECT, "staticAdmin": {"username": USER, "passwordHash": password_hash}},
        {"id": "other", "staticAdmin": {"username": "eve", "passwordHash": password_hash}},
    ]
    for _ in range(2):
        options = controlplane.Options(encryption_key=ENCRYPTION_KEY)
        async with controlplane.open_services(spec(tmp_path, projects=projects), options) as services:
            changed = [row for row in await rows(services, started[-1].seq) if row.record_kind != "session"]
    before, after = json.loads(changed[1].before), json.loads(changed[1].after)
    assert (before["static_admin.username"], after["static_admin.username"]) == (USER, "eve")
    assert json.loads(changed[0].after) == {"static_admin.password_hash": MASK}
    assert len(changed) == 2, "the second start changed nothing"
    assert "$argon2" not in str([tuple(row) for row in changed])


@pytest.mark.parametrize(
    ("networks", "forwarded", "expected"),
    [
        ([], "203.0.113.9", "127.0.0.1"),
        (["10.0.0.0/8"], "203.0.113.9", "127.0.0.1"),
        (["127.0.0.0/8"], "203.0.113.9", "203.0.113.9"),
        (["127.0.0.0/8"], "198.51.100.66, 203.0.113.9", "203.0.113.9"),
    ],
)
async def test_a_forwarded_address_is_believed_only_from_a_trusted_proxy(
    tmp_path: Path, networks: list[str], forwarded: str, expected: str
) -> None:
    """Over gRPC and over Connect."""
    async with (
        control_plane(tmp_path, trustedProxies=networks) as plane,
        aio.insecure_channel(plane.address) as channel,
    ):
        team = await open_team(plane, channel)
        fields = {"application_id": "app"}
        await team.call(METHODS["APIService/SyncApplication"], fields, ("x-forwarded-for", forwarded))
        assert (await last_row(team.services)).address == expected
        plane.console.http.headers["x-forwarded-for"] = forwarded
        await plane.register_piped()
        assert (await last_row(team.services)).address == expected


async def test_the_log_is_read_and_verified_by_administrators(team: Team) -> None:
    """By people whose roles allow it, and by API keys with the role ADMIN; of their own project only."""
    services = team.services
    await team.call(METHODS["WebService/DisableAPIKey"], {"id": "old-key"})
    verified = await team.call(METHODS["ConsoleService/VerifyAudit"], {})
    assert verified.completed and not verified.broken_reason  # type: ignore[attr-defined]
    entries = (await team.call(METHODS["ConsoleService/ListAudit"], {"page_size": 1})).entries  # type: ignore[attr-defined]
    (entry,) = entries
    assert (entry.actor_name, entry.address, entry.summary) == ("ann", "127.0.0.1", "disabled API key old")
    changes = {change.path: (change.HasField("before"), change.after) for change in entry.changes}
    assert changes["disabled"] == (False, "true")
    everything = await team.call(
        METHODS["ConsoleService/ListAudit"], {"page_size": 200, "with_content": True}
    )
    assert {json.loads(entry.content)["project_id"] for entry in everything.entries} == {TEAM}  # type: ignore[attr-defined]
    assert verified.head_position == entry.position  # type: ignore[attr-defined]
    known = {"known_position": entry.position, "known_hash": entry.hash}
    await team.call(METHODS["ConsoleService/VerifyAudit"], known)
    with pytest.raises(aio.AioRpcError, match="another hash"):
        await team.call(METHODS["ConsoleService/VerifyAudit"], known | {"known_hash": b"0"})
    for role in (APIKey.READ_WRITE, APIKey.ADMIN):
        await services.store.update(APIKey, team.key_id, partial(set_role, role=role), by=TESTER)
        for name in ("ListAudit", "VerifyAudit"):
            if role == APIKey.ADMIN:
                await team.call(METHODS[f"ProgramService/{name}"], {})
                continue
            with pytest.raises(aio.AioRpcError, match="needs the role ADMIN"):
                await team.call(METHODS[f"ProgramService/{name}"], {})
    viewer = Session(project_id=TEAM, username="vic", roles=(VIEWER,))
    team.credentials[Session] = (
        "cookie",
        f"{COOKIE}={await services.sessions.start(viewer, by=TESTER)}",
    )
    with pytest.raises(aio.AioRpcError, match="do not allow you to view the audit log"):
        await team.call(METHODS["ConsoleService/ListAudit"], {})


async def refusals_of(services: Services, project_id: str, count: int) -> list[tuple[str, str, str, str]]:
    """Wait for so many rows about refusals."""

    async def found() -> list[Any]:
        refused = [row for row in await rows(services) if row.operation == "refuse"]
        return [row for row in refused if row.project_id == project_id]

    await eventually(lambda: has(found, count))
    return [
        (row.actor_kind, row.actor_id, row.action.rpartition("/")[2], json.loads(row.after)["reason"])
        for row in await found()
    ]


async def has(load: Callable[[], Awaitable[Sequence[Any]]], count: int) -> bool:
    return len(await load()) == count


async def test_refused_calls_and_sign_ins_leave_one_row_for_each_caller_and_reason(team: Team) -> None:
    services = team.services
    session = Session(project_id=TEAM, username="vic", roles=(VIEWER,))
    viewer = await services.sessions.start(session, by=TESTER)
    secret = team.credentials[ApiKey][1].rpartition(".")[2]
    team.credentials[Session] = ("cookie", f"{COOKIE}={viewer}")
    team.credentials[ApiKey] = ("authorization", f"API-KEY {team.key_id}.wrong")
    team.credentials[PipedKey] = ("authorization", f"PIPED-TOKEN {TEAM},home,wrong")
    for _ in range(3):
        for key in ("WebService/DisableAPIKey", "APIService/SyncApplication", "PipedService/ReportStat"):
            with pytest.raises(aio.AioRpcError):
                await team.call(METHODS[key], {})
        form = {"project": PROJECT, "username": "eve", "password": "wrong"}
        await team.plane.console.http.post(f"{team.plane.url}/auth/login/static", data=form)
    refused = await refusals_of(services, TEAM, 3)
    assert [row[:3] for row in refused] == [
        ("person", "vic", "DisableAPIKey"),
        ("api_key", team.key_id, "SyncApplication"),
        ("piped", "home", "ReportStat"),
    ]
    assert "your roles do not allow you to disable API keys" in refused[0][3]
    assert secret not in str(refused) and "wrong" not in refused[2][0]
    assert [row[:3] for row in await refusals_of(services, PROJECT, 1)] == [("person", "eve", "sign-in")]

"""A user who is removed from a group at the provider loses its role while the session lasts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio
from starlette.responses import PlainTextResponse

from pipecd.config import controlplane as config
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.auth.sso.grants import MAX_SIZE, Grant
from pipecd.controlplane.auth.sso.oidc import groups_in
from pipecd.controlplane.auth.sso.providers import OIDC
from pipecd.controlplane.settings import AuthSettings, Settings
from pipecd.controlplane.store import sessions, tables
from pipecd.errors import ConfigError
from pipecd.model.access import EDITOR, VIEWER
from pipecd.schema.pipecd.v1.console_pb2 import ConsoleChange, ConsoleWatchRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from tests.controlplane.independent_provider import start_provider
from tests.controlplane.server_fixture import CallFailed, Console, ControlPlane, control_plane
from tests.controlplane.sign_in_provider import CLIENT_ID, CLIENT_SECRET, SignInProvider, sign_in_provider
from tests.raw_grpc import read
from tests.skippable_clock import SkippableClock

OIDC_PROJECT, GITHUB_PROJECT = "file", "teams"
INTERVAL, MAX_AGE = 15 * 60, 24 * 3600
#: Calls wait for the provider as long as a slow machine needs.
PATIENT = AuthSettings(credential_max_age=0.0, provider_max_age=0.0, provider_timeout=60, group_check_wait=60)


@dataclass(frozen=True, kw_only=True)
class Company:
    """A control plane and its provider, with the same clock."""

    plane: ControlPlane
    provider: SignInProvider
    clock: SkippableClock

    async def rows(self, table: sa.Table) -> Sequence[Any]:
        return await self.plane.server.services.store.database.rows(sa.select(table))

    def asked(self, path: str = "/token") -> int:
        return self.provider.requests.count(path)


@asynccontextmanager
async def running(folder: Path, auth: AuthSettings = PATIENT, **times: str) -> AsyncIterator[Company]:
    async with sign_in_provider() as provider:
        clock = SkippableClock()
        provider.now = clock.now
        client = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET}
        shared = [
            {"name": "company", "provider": "OIDC", "oidc": {**client, "issuer": provider.url}},
            {"name": "code", "provider": "GITHUB", "github": {**client, "baseUrl": provider.url}},
        ]
        groups = [{"ssoGroup": name, "role": role} for name, role in GROUPS.items()]
        projects = [
            {"id": "shop"},
            {"id": OIDC_PROJECT, "sharedSSOName": "company", "userGroups": groups},
            {"id": GITHUB_PROJECT, "sharedSSOName": "code", "userGroups": groups},
        ]
        async with control_plane(
            folder,
            settings=Settings(auth=auth),
            clock=clock,
            with_jobs=False,
            sign_in=False,
            projects=projects,
            sharedSSOConfigs=shared,
            sessions=times,
        ) as plane:
            yield Company(plane=plane, provider=provider, clock=clock)


GROUPS = {"acme/operators": EDITOR, "acme/readers": VIEWER}


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with running(tmp_path) as started:
        yield started


@asynccontextmanager
async def signed_in(company: Company, project: str = OIDC_PROJECT) -> AsyncIterator[Console]:
    console = Console(company.plane.url)
    async with console.http:
        begun = await console.http.get(f"{console.base}/auth/login", params={"project": project})
        arrived = await console.http.get(begun.headers["location"])
        back = arrived.headers["location"].replace("http://console.example", console.base)
        assert (await console.http.get(back)).headers["location"] == "/"
        yield console


async def outcome(console: Console) -> str:
    """The role that the user has, or why there is none."""
    try:
        await console.call("ListUnregisteredApplications")
        try:
            await console.call("AddApplication", name="")
        except CallFailed as error:
            return VIEWER if error.code == "permission_denied" else EDITOR
    except CallFailed as error:
        return error.code
    raise AssertionError


def in_user_info(provider: SignInProvider, groups: list[str]) -> None:
    provider.user_info = {"groups": groups}


def in_id_token(provider: SignInProvider, groups: list[str]) -> None:
    # As Keycloak, which leaves an empty claim out.
    provider.claims = {"sub": "u1", "preferred_username": "ada", **({"groups": groups} if groups else {})}


def teams(provider: SignInProvider, groups: list[str]) -> None:
    provider.teams = groups


@pytest.mark.parametrize(
    ("project", "place", "refreshes", "expires_in"),
    [
        (OIDC_PROJECT, in_user_info, True, 300),
        (OIDC_PROJECT, in_id_token, True, 300),
        (OIDC_PROJECT, in_user_info, False, 8 * 3600),
        (GITHUB_PROJECT, teams, False, None),
        (GITHUB_PROJECT, teams, True, 600),
    ],
    ids=["user info", "refreshed ID token", "access token", "GitHub", "GitHub App with expiring tokens"],
)
async def test_a_change_of_groups_at_the_provider_takes_effect(
    company: Company,
    project: str,
    place: Callable[[SignInProvider, list[str]], None],
    refreshes: bool,
    expires_in: int | None,
) -> None:
    provider, clock = company.provider, company.clock
    provider.refreshes, provider.expires_in = refreshes, expires_in
    place(provider, ["acme/operators"])
    async with signed_in(company, project) as console:
        place(provider, ["acme/readers"])
        before = len(provider.requests)
        assert await outcome(console) == EDITOR
        assert len(provider.requests) == before, "it is asked after the interval only"
        clock.skip(INTERVAL)
        assert await outcome(console) == VIEWER, "the first call after the interval waits for the answer"
        asked = len(provider.requests)
        assert asked > before and await outcome(console) == VIEWER and len(provider.requests) == asked
        clock.skip(INTERVAL)
        place(provider, ["acme/operators", "acme/readers"])
        assert await outcome(console) == EDITOR
        clock.skip(INTERVAL)
        place(provider, [])
        assert await outcome(console) == "unauthenticated"
        assert not await company.rows(tables.sessions), "the session has ended"
    audited = [row for row in await company.rows(tables.audit) if row.actor_id == "check-groups"]
    assert [row.operation for row in audited] == ["update", "update", "delete"]
    assert "acme/operators" in audited[0].before and "acme/readers" in audited[0].after


@pytest.mark.parametrize("project", [OIDC_PROJECT, GITHUB_PROJECT])
@pytest.mark.parametrize("refreshes", [True, False])
async def test_a_user_whose_sign_in_the_provider_has_ended_is_signed_out(
    company: Company, project: str, refreshes: bool
) -> None:
    provider = company.provider
    provider.refreshes, provider.expires_in = refreshes, 3600
    in_user_info(provider, ["acme/readers"])
    teams(provider, ["acme/readers"])
    async with signed_in(company, project) as console:
        provider.end_sign_ins()
        assert await outcome(console) == VIEWER
        company.clock.skip(INTERVAL)
        assert await outcome(console) == "unauthenticated"
    async with signed_in(company, project) as console:
        # Another user has the tokens.
        provider.claims["sub"], provider.user_id = "u2", 2
        company.clock.skip(INTERVAL)
        assert await outcome(console) == "unauthenticated"


async def test_an_open_stream_ends_when_the_groups_do(company: Company) -> None:
    provider = company.provider
    provider.refreshes = True
    in_user_info(provider, ["acme/readers"])
    async with signed_in(company) as console, aio.insecure_channel(company.plane.address) as channel:
        stub = ConsoleServiceStub(channel)
        cookie = f"token={console.http.cookies['token']}"
        stream = stub.Watch(ConsoleWatchRequest(), metadata=(("cookie", cookie),))
        assert (await read(stream)).kind == ConsoleChange.HEARTBEAT
        in_user_info(provider, [])
        company.clock.skip(INTERVAL)
        with pytest.raises(aio.AioRpcError) as ended:
            async with asyncio.timeout(60):
                while await stream.read() is not aio.EOF:
                    pass
        assert ended.value.code().name == "UNAUTHENTICATED"


async def test_an_open_stream_says_that_the_rights_have_changed(company: Company) -> None:
    provider = company.provider
    provider.refreshes = True
    in_user_info(provider, ["acme/readers"])
    async with signed_in(company) as console, aio.insecure_channel(company.plane.address) as channel:
        stub = ConsoleServiceStub(channel)
        cookie = f"token={console.http.cookies['token']}"
        stream = stub.Watch(ConsoleWatchRequest(), metadata=(("cookie", cookie),))
        assert (await read(stream)).kind == ConsoleChange.HEARTBEAT
        in_user_info(provider, ["acme/operators"])
        company.clock.skip(INTERVAL)
        async with asyncio.timeout(60):
            while (await read(stream)).kind != ConsoleChange.PROJECT:
                pass
        stream.cancel()


async def test_a_provider_that_does_not_answer_ends_sessions_after_a_day(company: Company) -> None:
    provider, clock = company.provider, company.clock
    provider.refreshes = True
    in_user_info(provider, ["acme/readers"])
    async with signed_in(company) as console:
        provider.replaced["/userinfo"] = PlainTextResponse("away", 503)
        clock.skip(INTERVAL)
        assert await outcome(console) == VIEWER, "an outage of the provider is not one of ours"
        asked = company.asked()
        assert await outcome(console) == VIEWER
        assert company.asked() == asked, "it is not asked again with each call"
        clock.skip(60)
        assert await outcome(console) == VIEWER
        assert company.asked() == asked + 1, "with the refresh token that it sent before it failed"
        clock.skip(MAX_AGE - INTERVAL)
        assert await outcome(console) == "unauthenticated"
        provider.replaced.clear()
        clock.skip(60)
        assert await outcome(console) == VIEWER, "it confirms the groups again"


async def test_a_slow_provider_does_not_delay_calls_for_long(tmp_path: Path) -> None:
    async with running(tmp_path, replace(PATIENT, group_check_wait=0.05)) as company:
        provider = company.provider
        provider.refreshes = True
        in_user_info(provider, ["acme/readers"])
        async with signed_in(company) as console:
            provider.silent.add("/token")
            company.clock.skip(INTERVAL)
            assert await outcome(console) == VIEWER and await outcome(console) == VIEWER


async def test_an_internal_error_of_a_check_ends_nothing_else(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(*_: Any) -> Session:
        raise RuntimeError("a bug")

    company.provider.refreshes = True
    in_user_info(company.provider, ["acme/readers"])
    async with signed_in(company) as console:
        with monkeypatch.context() as patched:
            patched.setattr(company.plane.server.services.sso, "ask_again", fault)
            company.clock.skip(INTERVAL)
            assert await outcome(console) == VIEWER
        assert company.asked("/token") == 1
        company.clock.skip(INTERVAL)
        assert await outcome(console) == VIEWER
        assert company.asked("/token") == 2


async def test_a_provider_that_cannot_be_asked_limits_the_session(company: Company) -> None:
    provider, clock = company.provider, company.clock
    provider.expires_in = 300
    in_user_info(provider, ["acme/readers"])
    async with signed_in(company) as console:
        requests = len(provider.requests)
        for _ in range(2):
            clock.skip(INTERVAL)
            assert await outcome(console) == VIEWER
        (row,) = await company.rows(tables.sessions)
        assert row.provider_grant == "" and len(provider.requests) == requests, "the token has expired"
        clock.skip(MAX_AGE)
        assert await outcome(console) == "unauthenticated"
    provider.claims = {"sub": "u1", "preferred_username": "ada", "groups": ["acme/readers"]}
    provider.user_info, provider.refreshes, provider.refreshes_id_token = {}, True, False
    async with signed_in(company) as console:
        clock.skip(INTERVAL)
        assert await outcome(console) == VIEWER, "the answer does not say that the groups are gone"
        assert (await company.rows(tables.sessions))[-1].provider_grant == ""


async def test_a_session_that_an_earlier_version_started_is_valid(company: Company) -> None:
    """Two versions run side by side during an upgrade."""
    in_user_info(company.provider, ["acme/readers"])
    async with signed_in(company) as console:
        (row,) = await company.rows(tables.sessions)
        database = company.plane.server.services.store.database
        await sessions.update(database, row.id, {"provider_grant": "", "confirmed_at": 0})
        company.clock.skip(INTERVAL)
        assert await outcome(console) == VIEWER
        listed = await company.plane.server.services.sessions.list_stored(OIDC_PROJECT)
        assert [stored.session.id for stored in listed] == [row.id]
        company.clock.skip(MAX_AGE)
        assert await outcome(console) == "unauthenticated"


async def test_calls_at_the_same_time_use_a_refresh_token_once(company: Company) -> None:
    """Providers that replace refresh tokens end the sign-in when one is used twice."""
    provider, clock, services = company.provider, company.clock, company.plane.server.services
    provider.refreshes = True
    in_user_info(provider, ["acme/readers"])
    async with signed_in(company) as console:
        asked = company.asked()
        clock.skip(INTERVAL)
        results = await asyncio.gather(*(console.call("ListPipeds") for _ in range(20)))
        assert len(results) == 20 and company.asked() == asked + 1
        # Of several replicas, one asks.
        clock.skip(INTERVAL)
        (row,) = await company.rows(tables.sessions)
        session = Session(project_id=OIDC_PROJECT, username="ada", roles=(), id=row.id)
        session = replace(session, confirmed_at=row.confirmed_at)
        until = clock.now() + 60
        claimed = [await services.sessions.claim_check(session, until) for _ in range(3)]
        assert claimed[0] and claimed[0].grant and claimed[1:] == [None, None]
        assert await outcome(console) == VIEWER and company.asked() == asked + 1
        clock.skip(60)
        assert await outcome(console) == VIEWER and company.asked() == asked + 2, "the replica has died"


async def test_tokens_of_the_provider_are_secret(company: Company) -> None:
    provider, services = company.provider, company.plane.server.services
    provider.refreshes = True
    in_user_info(provider, ["acme/readers"])
    async with signed_in(company) as console:
        (row,) = await company.rows(tables.sessions)
        text = str([*await company.rows(tables.audit), row])
        assert row.provider_grant and "access1" not in text and "refresh1" not in text
        assert "access1" not in console.http.cookies["token"]
        # Another provider never gets them.
        projects = services.projects
        other = await projects.provider(GITHUB_PROJECT)
        assert other
        projects._providers[OIDC_PROJECT] = other
        asked = len(provider.requests)
        company.clock.skip(INTERVAL)
        assert await outcome(console) == "unauthenticated" and len(provider.requests) == asked


async def test_nothing_is_stored_without_checks(tmp_path: Path) -> None:
    async with running(tmp_path, groupsCheckInterval="0s", groupsMaxAge="0s", idleTimeout="0s") as company:
        company.provider.refreshes = True
        in_user_info(company.provider, ["acme/readers"])
        async with signed_in(company) as console:
            (row,) = await company.rows(tables.sessions)
            assert (row.provider_grant, row.expires_at - row.started_at) == ("", 7 * 24 * 3600)
            requests = len(company.provider.requests)
            company.clock.skip(6 * 24 * 3600)
            assert await outcome(console) == VIEWER and len(company.provider.requests) == requests


async def test_an_independent_provider_is_asked_again(tmp_path: Path) -> None:
    """By refresh tokens; the check of our own provider could have the same faults as our client."""
    clock = SkippableClock()
    with start_provider() as provider:
        issuer = f"http://127.0.0.1:{provider.server_port}"
        groups = [{"ssoGroup": "operators", "role": EDITOR}, {"ssoGroup": "readers", "role": VIEWER}]
        client = {"clientId": "console", "clientSecret": "the secret", "issuer": issuer}
        sso = {"provider": "OIDC", "oidc": client}
        projects = [{"id": OIDC_PROJECT, "sso": sso, "userGroups": groups}]
        async with control_plane(
            tmp_path, settings=Settings(auth=PATIENT), clock=clock, sign_in=False, projects=projects
        ) as plane:
            console = plane.console

            async def sign_in() -> None:
                begun = await console.http.get(f"{console.base}/auth/login", params={"project": OIDC_PROJECT})
                form = {"sub": "ada"}
                arrived = await console.http.post(begun.headers["location"], data=form)
                back = arrived.headers["location"].replace("http://console.example", console.base)
                assert (await console.http.get(back)).headers["location"] == "/"

            async def set_groups(*names: str) -> None:
                claims = {"preferred_username": "ada", "groups": [*names]}
                assert (await console.http.put(f"{issuer}/users/ada", json=claims)).status_code == 204

            await sign_in()
            assert await outcome(console) == EDITOR
            await set_groups("readers")
            clock.skip(INTERVAL)
            assert await outcome(console) == VIEWER
            clock.skip(INTERVAL)
            assert await outcome(console) == VIEWER, "with the refresh token that the first check got"
            await console.http.post(f"{issuer}/users/ada/revoke-tokens")
            clock.skip(INTERVAL)
            assert await outcome(console) == "unauthenticated"
            await sign_in()
            await set_groups()
            clock.skip(INTERVAL)
            assert await outcome(console) == "unauthenticated"


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ("{groupsCheckInterval: 30s}", "shorter than 1m"),
        ("{groupsMaxAge: 10m}", "shorter than 15m"),
        ("{groupsCheckInterval: 2h, groupsMaxAge: 1h}", "groupsCheckInterval"),
    ],
)
def test_wrong_times_are_refused(times: str, problem: str) -> None:
    head = "apiVersion: pipecd.dev/v1beta1\nkind: ControlPlane\nspec:\n"
    with pytest.raises(ConfigError, match=problem):
        config.load(f"{head}  sessions: {times}\n", "control-plane.yaml")


def test_a_zero_that_has_a_meaning_is_not_the_default() -> None:
    text = "{idleTimeout: 0s, groupsCheckInterval: 0, groupsMaxAge: 0s, lifetime: 0s}"
    head = "apiVersion: pipecd.dev/v1beta1\nkind: ControlPlane\nspec:\n"
    read = config.load(f"{head}  sessions: {text}\n", "control-plane.yaml").sessions
    times = (read.idle_timeout, read.groups_check_interval, read.groups_max_age)
    assert not any(times) and read.lifetime.days == 7


@pytest.mark.parametrize(
    ("id_token", "user_info", "expected"),
    [
        ({"groups": ["a"]}, {}, "id_token"),
        ({"groups": ["a"]}, {"groups": []}, "user_info"),
        ({"groups": ["a"]}, {"roles": ["b"]}, "id_token"),
        ({}, {"roles": ["b"]}, "user_info"),
        ({"other": 1}, {"sub": "x"}, ""),
    ],
)
def test_the_document_with_the_groups_is_known(
    id_token: dict[str, Any], user_info: dict[str, Any], expected: str
) -> None:
    settings = OIDC(client_id="a", client_secret="b", issuer="https://login.example")
    assert groups_in(settings, id_token, user_info) == expected


@pytest.mark.parametrize(
    ("expires_in", "expires_at"),
    [(3600, 4600.0), (None, 0.0), ("3600", 0.0), (-1, 0.0), (1e300, 0.0), (True, 1001.0)],
)
def test_any_response_of_a_token_endpoint_is_read(expires_in: Any, expires_at: float) -> None:
    grant = Grant(subject="u1", refresh_token="old").renewed(
        {"access_token": "new", "refresh_token": 7, "expires_in": expires_in}, 1000.0
    )
    assert (grant.access_token, grant.refresh_token, grant.expires_at) == ("new", "old", expires_at)
    assert Grant.from_json(grant.to_json()) == grant
    assert replace(grant, access_token="x" * MAX_SIZE).to_json() == ""
    assert Grant(subject="u1").to_json() == "" and "new" not in repr(grant)

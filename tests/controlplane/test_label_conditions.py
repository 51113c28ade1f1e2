"""Roles with conditions on labels: every list and every call, with records inside and outside of them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import aio

from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.records import suggestions
from pipecd.controlplane.rpc.table import CONSOLE, WEB, methods
from pipecd.model.access import ADMIN
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.application_pb2 import Application, ApplicationInfo
from pipecd.schema.model.application_pb2 import ApplicationSyncStatus as Status
from pipecd.schema.model.chain_pb2 import ChainApplicationRef, ChainDeploymentRef, DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from pipecd.schema.pipecd.v1.agent_pb2 import InvalidFile
from pipecd.schema.pipecd.v1.console_pb2 import ConsoleChange, ConsoleWatchRequest
from pipecd.schema.pipecd.v1.console_pb2_grpc import ConsoleServiceStub
from tests.actors import TESTER
from tests.controlplane.server_fixture import CallFailed, Console, ControlPlane, control_plane
from tests.raw_grpc import read, unary

PROJECT, SECRET = "team", "HIDDEN-NAME"
REPOSITORY = ApplicationGitRepository(id="demo", remote="https://git.example/demo.git", branch="main")
GIT_PATH = ApplicationGitPath(repo=REPOSITORY, path="shop")
FAILURE = DeploymentStatus.DEPLOYMENT_FAILURE
ALL, ANY = ProjectRBACResource.ALL, ProjectRBACPolicy.ALL
#: The labels of records that the role does not include, and of those that it does.
OUTSIDE: dict[str, dict[str, str]] = {
    "prod": {"env": "prod"},
    "upper": {"env": "DEV"},
    "none": {},
    "part": {"env": "de", "v": "env:dev"},
}
INSIDE = {"env": "dev", "team": "a"}


def role(name: str, *labels: dict[str, str]) -> ProjectRBACRole:
    """A role that may do everything with records that have one of `labels`."""
    policies = [
        ProjectRBACPolicy(resources=[ProjectRBACResource(type=ALL, labels=one)], actions=[ANY])
        for one in labels
    ]
    return ProjectRBACRole(name=name, policies=policies)


def records(key: str, name: str, labels: dict[str, str]) -> list[Any]:
    stages = [
        PipelineStage(id="stage-0", name="WAIT_APPROVAL", status=StageStatus.STAGE_RUNNING),
        PipelineStage(id="analysis", name="ANALYSIS", status=StageStatus.STAGE_RUNNING),
    ]
    application = f"app-{key}"
    return [
        Application(
            id=application, name=name, project_id=PROJECT, piped_id="home", git_path=GIT_PATH, labels=labels
        ),
        Deployment(
            id=f"deployment-{key}",
            application_id=application,
            application_name=name,
            project_id=PROJECT,
            piped_id="home",
            labels=labels,
            stages=stages,
            status=DeploymentStatus.DEPLOYMENT_RUNNING,
            deployment_trace_commit_hash="c" * 40,
        ),
        Event(id=f"event-{key}", name=name, project_id=PROJECT, labels=labels),
        Command(
            id=f"command-{key}",
            commander=name,
            project_id=PROJECT,
            piped_id="home",
            application_id=application,
        ),
    ]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    # Without jobs, which would change the records.
    async with control_plane(tmp_path, with_jobs=False) as running:
        store = running.server.services.store
        project = Project(id=PROJECT, static_admin_disabled=True, created_at=1, updated_at=1)
        project.rbac_roles.append(role("developer", {"env": "dev"}))
        project.rbac_roles.append(role("either", {"env": "prod"}, {"env": "dev"}))
        await store.create(project, by=TESTER)
        await store.create(Piped(id="home", project_id=PROJECT, repositories=[REPOSITORY]), by=TESTER)
        trace = DeploymentTrace(id="t", project_id=PROJECT, commit_hash="c" * 40)
        await store.create(trace, *records("in", "visible", INSIDE), by=TESTER)
        infos = [ApplicationInfo(name="visible", labels=INSIDE)]
        for key, labels in OUTSIDE.items():
            await store.create(*records(key, SECRET, labels), by=TESTER)
            infos.append(ApplicationInfo(name=SECRET, labels=labels))
        files = [InvalidFile(repo_id="shop", path="x/app.pipecd.yaml", error="invalid")]
        await suggestions.replace(store, PROJECT, "home", infos, invalid_files=files, by=TESTER)
        yield running


@pytest.fixture
async def channel(plane: ControlPlane) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(plane.address) as opened:
        yield opened


async def cookie(plane: ControlPlane, *roles: str) -> Any:
    session = Session(project_id=PROJECT, username="ann", roles=roles)
    return (("cookie", f"token={await plane.server.services.sessions.start(session, by=TESTER)}"),)


def about(request: Any, key: str) -> Message:
    """The request with the ids of the records `key`."""
    values = {
        "application_id": f"app-{key}",
        "deployment_id": f"deployment-{key}",
        "command_id": f"command-{key}",
        "piped_id": "home",
        "stage_id": "analysis" if "Skip" in request.DESCRIPTOR.name else "stage-0",
        "name": "requested",
        "resource_id": "resource",
    }
    for field in request.DESCRIPTOR.fields:
        if field.name in values and not field.is_repeated:
            setattr(request, field.name, values[field.name])
    if request.DESCRIPTOR.name == "AddApplicationRequest":
        request.git_path.CopyFrom(GIT_PATH)
        request.labels.update(OUTSIDE.get(key, INSIDE))
    assert isinstance(request, Message)
    return request


#: Calls that concern one application, deployment or command.
SINGLE = {
    "GetApplication",
    "GetApplicationLiveState",
    "SeeLiveState",
    "SeeResource",
    "UpdateApplication",
    "EnableApplication",
    "DisableApplication",
    "DeleteApplication",
    "SyncApplication",
    "AddApplication",
    "GetDeployment",
    "GetStageLog",
    "SeeStageLog",
    "CancelDeployment",
    "SkipStage",
    "ApproveStage",
    "RejectStage",
    "RollBackTo",
    "Unpin",
    "GetCommand",
}


def calls() -> dict[str, Any]:
    table = methods((WEB, CONSOLE)).values()
    return {method.name: method for method in table if not method.streams}


async def call(channel: aio.Channel, name: str, key: str, metadata: Any) -> tuple[str, bytes]:
    """The status code, and the response or the error's text."""
    method = calls()[name]
    data = about(method.request(), key).SerializeToString()
    try:
        return "OK", await unary(channel, method.path)(data, metadata=metadata, timeout=60)
    except aio.AioRpcError as error:
        return error.code().name, (error.details() or "").encode()


@pytest.mark.parametrize("key", OUTSIDE)
async def test_no_call_reaches_a_record_outside_the_role(
    plane: ControlPlane, channel: aio.Channel, key: str
) -> None:
    store = plane.server.services.store

    async def versions() -> list[int]:
        return [(await store.get(type(record), record.id)).version for record in records(key, "", {})]

    before, metadata = await versions(), await cookie(plane, "developer")
    for name in calls():
        status, response = await call(channel, name, key, metadata)
        assert SECRET.encode() not in response, name
        if name in SINGLE:
            assert status == "PERMISSION_DENIED", (name, status, response)
    assert await versions() == before


def test_every_call_about_one_record_is_tested() -> None:
    fields = {"application_id", "deployment_id", "command_id"}
    about_one = {
        name for name, method in calls().items() if fields & set(method.request.DESCRIPTOR.fields_by_name)
    }
    # In these, the application is a filter.
    assert about_one - {"PageDeployments", "GetInsightData", "GetInsights"} == SINGLE - {"AddApplication"}


_ANSWERED = ("OK", "NOT_FOUND", "FAILED_PRECONDITION")


async def test_calls_reach_the_records_inside_the_role(plane: ControlPlane, channel: aio.Channel) -> None:
    metadata = await cookie(plane, "developer")
    for name in [*sorted(SINGLE - {"DeleteApplication"}), "DeleteApplication"]:
        status, response = await call(channel, name, "in", metadata)
        # No agent is connected.
        expected = ("UNAVAILABLE",) if name == "SeeResource" else _ANSWERED
        assert status in expected, (name, status, response)


LISTS = {
    "ListApplications": "applications",
    "PageApplications": "applications",
    "ListDeployments": "deployments",
    "PageDeployments": "deployments",
    "ListEvents": "events",
    "ListUnregisteredApplications": "applications",
    "ListSuggestions": "suggestions",
}


@pytest.mark.parametrize(
    ("roles", "count"),
    [(["developer"], 1), (["either"], 2), (["developer", "either"], 2), (["developer", ADMIN], 5)],
)
async def test_lists_contain_what_the_roles_include(
    plane: ControlPlane, roles: list[str], count: int
) -> None:
    console = Console(plane.url)
    async with console.http:
        console.http.headers["cookie"] = (await cookie(plane, *roles))[0][1]
        for method, field in LISTS.items():
            assert len(getattr(await console.call(method), field)) == count, method
        found = await console.call("ListSuggestions")
        assert len(found.invalid_files) == (ADMIN in roles), "the labels of an invalid file are unknown"
        for statuses, total in (([], count), ([Status.SYNCED], 0), ([Status.UNKNOWN, Status.SYNCED], count)):
            page = await console.call("PageApplications", sync_statuses=statuses)
            assert (page.total, dict(page.status_counts)) == (total, {Status.UNKNOWN: count})
        (trace,) = (await console.call("ListDeploymentTraces")).traces
        assert len(trace.deployments) == count


@pytest.mark.parametrize(("roles", "count"), [(["developer"], 1), (["either"], 2), ([ADMIN], 5)])
async def test_insights_are_about_what_the_roles_include(
    plane: ControlPlane, roles: list[str], count: int
) -> None:
    def fail(record: Deployment) -> None:
        record.status = DeploymentStatus.DEPLOYMENT_FAILURE
        record.completed_at = 1_760_000_000
        record.stages.add(id="s", name="ECS_SYNC", status=StageStatus.STAGE_FAILURE)

    for key in (*OUTSIDE, "in"):
        await plane.server.services.store.update(Deployment, f"deployment-{key}", fail, by=TESTER)
    console = Console(plane.url)
    async with console.http:
        console.http.headers["cookie"] = (await cookie(plane, *roles))[0][1]
        period = {"range_from": 1_760_000_000, "range_to": 1_760_000_000}
        insights = await console.call("GetInsights", **period)
        assert insights.total.failures == insights.failing_count == count
        data = await console.call("GetInsightData", **period)
        assert data.matrix[0].data_points[0].value == count
        counted = await console.call("GetInsightApplicationCount")
        assert sum(each.count for each in counted.counts) == count


async def test_a_stream_reports_what_the_role_includes(plane: ControlPlane, channel: aio.Channel) -> None:
    store = plane.server.services.store
    stub = ConsoleServiceStub(channel)
    stream = stub.Watch(ConsoleWatchRequest(), metadata=await cookie(plane, "developer"))
    assert (await read(stream)).kind == ConsoleChange.HEARTBEAT

    def touch(record: Any) -> None:
        record.updated_at += 1

    for key in (*OUTSIDE, "in"):
        for record in records(key, "", {}):
            await store.update(type(record), record.id, touch, by=TESTER)
    await store.announce("piped", project_id=PROJECT, id="last")
    reported: set[str] = set()
    async with asyncio.timeout(60):
        while (change := await read(stream)).id != "last":
            reported.add(change.id)
    labelled = {id for id in reported if id.startswith(("app-", "deployment-", "event-", "command-"))}
    assert labelled == {"app-in", "deployment-in", "event-in", "command-in"}
    stream.cancel()


Kind, Types, Actions = ConsoleChange, ProjectRBACResource, ProjectRBACPolicy
#: What every member learns of.
OPEN = {Kind.COMMAND, Kind.PROJECT}
ABOUT_APPLICATIONS = {Kind.APPLICATION, Kind.LIVE_STATE, Kind.SUGGESTIONS}
REPORTED: Mapping[str, tuple[Collection[tuple[Any, Any]], Collection[Any]]] = {
    "nothing": ((), OPEN),
    "the project": ([(Types.PROJECT, Actions.GET)], OPEN),
    "a list of applications": ([(Types.APPLICATION, Actions.LIST)], OPEN | ABOUT_APPLICATIONS),
    "applications": ([(Types.APPLICATION, Actions.GET)], OPEN | ABOUT_APPLICATIONS),
    "deployments": ([(Types.DEPLOYMENT, Actions.GET)], OPEN | {Kind.DEPLOYMENT, Kind.STAGE_LOG}),
    "only changes of deployments": ([(Types.DEPLOYMENT, Actions.UPDATE)], OPEN),
    "events and agents": (
        [(Types.EVENT, Actions.LIST), (Types.PIPED, Actions.LIST)],
        OPEN | {Kind.EVENT, Kind.PIPED},
    ),
    "chains without applications": ([(Types.DEPLOYMENT_CHAIN, Actions.LIST)], OPEN),
    "chains": (
        [(Types.DEPLOYMENT_CHAIN, Actions.LIST), (Types.APPLICATION, Actions.GET)],
        OPEN | ABOUT_APPLICATIONS | {Kind.DEPLOYMENT_CHAIN},
    ),
    "everything": ([(Types.ALL, Actions.ALL)], set(Kind.Kind.values()) - {Kind.HEARTBEAT, Kind.RESYNC}),
}


@pytest.mark.parametrize("labels", [{}, INSIDE, OUTSIDE["prod"]], ids=["all", "inside", "outside"])
@pytest.mark.parametrize("name", REPORTED)
async def test_a_stream_reports_the_kinds_of_records_that_the_role_includes(
    plane: ControlPlane, channel: aio.Channel, name: str, labels: dict[str, str]
) -> None:
    """Every member has a stream; without a right to a kind of records, it says nothing about them."""
    store = plane.server.services.store
    rights, expected = REPORTED[name]
    policies = [
        ProjectRBACPolicy(resources=[Types(type=type, labels=labels)], actions=[action])
        for type, action in rights
    ]
    watcher = ProjectRBACRole(name="watcher", policies=policies)
    await store.update(Project, PROJECT, lambda project: project.rbac_roles.append(watcher), by=TESTER)
    chain = DeploymentChain(id="chain", project_id=PROJECT, created_at=1, updated_at=1)
    chain.blocks.add().nodes.add().application_ref.application_id = "app-in"
    await store.create(chain, by=TESTER)
    stub = ConsoleServiceStub(channel)
    stream = stub.Watch(ConsoleWatchRequest(), metadata=await cookie(plane, "watcher"))
    assert (await read(stream)).kind == ConsoleChange.HEARTBEAT

    changes = {"application": "app-in", "live_state": "app-in", "deployment": "deployment-in"}
    changes |= {"stage_log": "deployment-in", "event": "event-in", "command": "command-in", "chain": "chain"}
    changes |= {"piped": "home", "suggestions": "home", "api_key": "key", "project": "last"}
    for kind, id in changes.items():
        await store.announce(kind, project_id=PROJECT, id=id)
    reported = set()
    async with asyncio.timeout(60):
        while (change := await read(stream)).id != "last":
            # Not those of the records that the fixture created.
            if change.id in changes.values():
                reported.add(change.kind)
    if labels == OUTSIDE["prod"]:
        expected = set(expected) & {*OPEN, Kind.PIPED, Kind.SUGGESTIONS, Kind.API_KEY}
        if rights and {type for type, _ in rights} & {Types.APPLICATION, Types.DEPLOYMENT, Types.ALL}:
            expected.discard(Kind.COMMAND)
    assert reported | {change.kind} == expected
    stream.cancel()


async def test_a_command_is_read_by_members_without_conditions(
    plane: ControlPlane, channel: aio.Channel
) -> None:
    """PipeCD asks for no right; only a condition restricts it."""
    for roles in ([ADMIN], []):
        status, _ = await call(channel, "GetCommand", "prod", await cookie(plane, *roles))
        assert status == "OK"


async def test_chains_and_agents_hide_what_the_role_does_not_include(plane: ControlPlane) -> None:
    store = plane.server.services.store
    for id, keys in (("mixed", ("in", "prod")), ("hidden", ("prod", "none"))):
        chain = DeploymentChain(id=id, project_id=PROJECT, created_at=1, updated_at=1)
        for key in keys:
            node = chain.blocks.add().nodes.add()
            node.application_ref.application_id = f"app-{key}"
            node.application_ref.application_name = "visible" if key == "in" else SECRET
            node.deployment_ref.deployment_id, node.deployment_ref.status = f"deployment-{key}", FAILURE
            node.deployment_ref.status_reason = f"{SECRET} failed" if key != "in" else "failed"
        await store.create(chain, by=TESTER)
    await store.update(Piped, "home", lambda piped: setattr(piped, "config", f"for {SECRET}"), by=TESTER)
    console = Console(plane.url)
    async with console.http:
        console.http.headers["cookie"] = (await cookie(plane, "developer"))[0][1]
        (chain,) = (await console.call("ListDeploymentChains")).deployment_chains
        assert (
            chain == (await console.call("GetDeploymentChain", deployment_chain_id="mixed")).deployment_chain
        )
        shown, hidden = (block.nodes[0] for block in chain.blocks)
        assert (shown.application_ref.application_name, shown.deployment_ref.status_reason) == (
            "visible",
            "failed",
        )
        assert hidden.application_ref == ChainApplicationRef(application_name="(hidden)")
        assert hidden.deployment_ref == ChainDeploymentRef(status=FAILURE)
        with pytest.raises(CallFailed, match="include no application of chain hidden"):
            await console.call("GetDeploymentChain", deployment_chain_id="hidden")
        assert (await console.call("GetPiped", piped_id="home")).piped.config == ""
        for with_status in (True, False):
            (piped,) = (await console.call("ListPipeds", with_status=with_status)).pipeds
            assert piped.config == ""
        console.http.headers["cookie"] = (await cookie(plane, ADMIN))[0][1]
        assert len((await console.call("ListDeploymentChains")).deployment_chains) == 2
        assert SECRET in (await console.call("GetPiped", piped_id="home")).piped.config


async def test_rights_name_the_labels_of_the_records_on_which_they_hold(plane: ControlPlane) -> None:
    async def conditions(
        role: str, resource: ProjectRBACResource.ResourceType.ValueType
    ) -> list[dict[str, str]]:
        session = Session(project_id=PROJECT, username="ann", roles=(role,))
        console = Console(plane.url)
        async with console.http:
            console.http.cookies.set("token", await plane.server.services.sessions.start(session, by=TESTER))
            (right,) = [
                right
                for right in (await console.call("SeeRights")).rights
                if (right.resource, right.action) == (resource, ProjectRBACPolicy.UPDATE)
            ]
            return [dict(alternative.labels) for alternative in right.conditions]

    assert await conditions("either", ProjectRBACResource.APPLICATION) == [{"env": "prod"}, {"env": "dev"}]
    assert await conditions("developer", ProjectRBACResource.PIPED) == []
    assert await conditions(ADMIN, ProjectRBACResource.APPLICATION) == []

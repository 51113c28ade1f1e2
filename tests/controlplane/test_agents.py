"""RPCs of agents: reports, logs and leases, and what agents must not do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from prometheus_client import REGISTRY

from pipecd.controlplane.settings import Settings, WatchSettings
from pipecd.schema.agent import (
    applications_pb2,
    commands_pb2,
    deployments_pb2,
    logs_pb2,
    objects_pb2,
    pipeds_pb2,
    service_pb2_grpc,
)
from pipecd.schema.model.application_pb2 import Application, ApplicationInfo
from pipecd.schema.model.command_pb2 import CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from pipecd.schema.pipecd.v1 import agent_pb2, agent_pb2_grpc
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange
from tests.controlplane.server_fixture import PROJECT, CallFailed, ControlPlane, control_plane


class Agent:
    """A client that calls the control plane as PipeCD's own agent does."""

    def __init__(self, channel: aio.Channel, piped_id: str, key: str, instance: str = "") -> None:
        self.id, self.channel = piped_id, channel
        self.metadata: list[tuple[str, str]] = [("authorization", f"PIPED-TOKEN {PROJECT},{piped_id},{key}")]
        if instance:
            self.metadata.append(("pipecd-instance", instance))
        self.stub = service_pb2_grpc.PipedServiceStub(channel)
        self.agent_stub = agent_pb2_grpc.AgentServiceStub(channel)

    async def call(self, name: str, request: Any) -> Any:
        stub = self.stub if hasattr(self.stub, name) else self.agent_stub
        return await getattr(stub, name)(request, metadata=self.metadata, timeout=60)

    async def code(self, name: str, request: Any) -> str:
        try:
            await self.call(name, request)
        except aio.AioRpcError as error:
            return error.code().name
        return "OK"

    def watch(self, instance: str) -> Any:
        return self.agent_stub.Watch(agent_pb2.AgentWatchRequest(instance=instance), metadata=self.metadata)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    # Leases must not expire on a slow machine.
    settings = Settings(watch=WatchSettings(lease_duration=600.0))
    async with control_plane(tmp_path, settings=settings) as running:
        yield running


@pytest.fixture
async def agent(plane: ControlPlane) -> AsyncIterator[Agent]:
    piped_id, key = await plane.register_piped()
    async with aio.insecure_channel(plane.address) as channel:
        client = Agent(channel, piped_id, key)
        repository = ApplicationGitRepository(id="demo", remote="https://git.example/d.git", branch="main")
        await client.call("ReportPipedMeta", pipeds_pb2.ReportPipedMetaRequest(repositories=[repository]))
        yield client


async def application(plane: ControlPlane, agent: Agent, name: str = "shop") -> str:
    response = await plane.console.call(
        "AddApplication",
        name=name,
        piped_id=agent.id,
        kind=ApplicationKind.TERRAFORM,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path=name),
    )
    return str(response.application_id)


def deployment(agent: Agent, application_id: str, id: str = "d1") -> Deployment:
    return Deployment(
        id=id,
        application_id=application_id,
        application_name="ignored",
        piped_id=agent.id,
        project_id=PROJECT,
        kind=ApplicationKind.TERRAFORM,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path="shop"),
        trigger=DeploymentTrigger(
            commit=Commit(hash="abc", message="m", author="a", branch="main", created_at=1), timestamp=1
        ),
        created_at=1,
        updated_at=1,
    )


async def create_planned_deployment(plane: ControlPlane, agent: Agent, id: str = "d1") -> str:
    application_id = await application(plane, agent)
    request = deployments_pb2.CreateDeploymentRequest(deployment=deployment(agent, application_id, id))
    await agent.call("CreateDeployment", request)
    stage = PipelineStage(id="stage-0", name="WAIT", created_at=1, updated_at=1)
    report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id=id, stages=[stage])
    await agent.call("ReportDeploymentPlanned", report)
    return application_id


def completion_report(id: str, status: DeploymentStatus.ValueType) -> Any:
    return deployments_pb2.ReportDeploymentCompletedRequest(
        deployment_id=id, status=status, completed_at=5, stage_statuses={}
    )


def stage_report(status: StageStatus.ValueType) -> Any:
    return deployments_pb2.ReportStageStatusChangedRequest(
        deployment_id="d1", stage_id="stage-0", status=status, completed_at=1
    )


async def test_a_deployment_is_created_once(plane: ControlPlane, agent: Agent) -> None:
    """Invariant 2: creating the same deployment again returns ALREADY_EXISTS."""
    request = deployments_pb2.CreateDeploymentRequest(
        deployment=deployment(agent, await application(plane, agent))
    )
    assert await agent.code("CreateDeployment", request) == "OK"
    assert await agent.code("CreateDeployment", request) == "ALREADY_EXISTS"
    stored = await plane.console.call("GetDeployment", deployment_id="d1")
    assert stored.deployment.application_name == "shop", "taken from the application's record"


async def test_an_application_cannot_have_two_active_deployments(plane: ControlPlane, agent: Agent) -> None:
    """Invariant 1."""
    application_id = await create_planned_deployment(plane, agent)
    second = deployment(agent, application_id, "d2")
    await agent.call("CreateDeployment", deployments_pb2.CreateDeploymentRequest(deployment=second))
    report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id="d2")
    assert await agent.code("ReportDeploymentPlanned", report) == "FAILED_PRECONDITION"
    await agent.call(
        "ReportDeploymentCompleted", completion_report("d1", DeploymentStatus.DEPLOYMENT_FAILURE)
    )
    assert await agent.code("ReportDeploymentPlanned", report) == "OK"


async def test_created_and_ended_deployments_are_counted_once(plane: ControlPlane, agent: Agent) -> None:
    def counts() -> list[float]:
        samples: Sequence[tuple[str, dict[str, str]]] = (
            ("grpcapi_create_deployment_total", {"project": PROJECT}),
            ("pipecd_deployments_total", {"status": "FAILURE"}),
            ("pipecd_deployment_seconds_count", {"status": "FAILURE"}),
            ("pipecd_queue_seconds_count", {}),
        )
        return [REGISTRY.get_sample_value(name, labels) or 0.0 for name, labels in samples]

    before = counts()
    await create_planned_deployment(plane, agent)
    running = deployments_pb2.ReportDeploymentStatusChangedRequest(
        deployment_id="d1", status=DeploymentStatus.DEPLOYMENT_RUNNING
    )
    report = completion_report("d1", DeploymentStatus.DEPLOYMENT_FAILURE)
    for _ in range(2):
        await agent.code("ReportDeploymentStatusChanged", running)
    for _ in range(2):
        await agent.call("ReportDeploymentCompleted", report)
    assert [after - count for after, count in zip(counts(), before, strict=True)] == [1, 1, 1, 1]


async def test_a_final_status_never_changes(plane: ControlPlane, agent: Agent) -> None:
    """Invariant 3: late reports change neither a finished deployment nor a finished stage."""
    await create_planned_deployment(plane, agent)
    status = DeploymentStatus
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_RUNNING))
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_SUCCESS))
    late = stage_report(StageStatus.STAGE_RUNNING)
    assert await agent.code("ReportStageStatusChanged", late) == "FAILED_PRECONDITION"
    await agent.call("ReportDeploymentCompleted", completion_report("d1", status.DEPLOYMENT_SUCCESS))
    again = completion_report("d1", status.DEPLOYMENT_SUCCESS)
    assert await agent.code("ReportDeploymentCompleted", again) == "OK", "a repeated report is not a conflict"
    other = completion_report("d1", status.DEPLOYMENT_FAILURE)
    assert await agent.code("ReportDeploymentCompleted", other) == "FAILED_PRECONDITION"
    running = deployments_pb2.ReportDeploymentStatusChangedRequest(
        deployment_id="d1", status=status.DEPLOYMENT_RUNNING
    )
    assert await agent.code("ReportDeploymentStatusChanged", running) == "FAILED_PRECONDITION"
    stored = await plane.console.call("GetDeployment", deployment_id="d1")
    assert stored.deployment.status == status.DEPLOYMENT_SUCCESS


def blocks(*indexes: int) -> list[LogBlock]:
    return [LogBlock(index=index, log=f"line {index}\n", created_at=1) for index in indexes]


async def _log(plane: ControlPlane, offset: int = 0) -> tuple[list[int], bool]:
    response = await plane.console.call(
        "GetStageLog", deployment_id="d1", stage_id="stage-0", offset_index=offset
    )
    return [block.index for block in response.blocks], response.completed


async def test_log_lines_are_merged_and_none_is_lost(plane: ControlPlane, agent: Agent) -> None:
    await create_planned_deployment(plane, agent)
    with pytest.raises(CallFailed, match="no log yet"):
        await _log(plane)

    async def append(*indexes: int) -> None:
        request = logs_pb2.ReportStageLogsRequest(
            deployment_id="d1", stage_id="stage-0", blocks=blocks(*indexes)
        )
        await agent.call("ReportStageLogs", request)

    async def checkpoint(*indexes: int, completed: bool = False) -> None:
        request = logs_pb2.ReportStageLogsFromLastCheckpointRequest(
            deployment_id="d1", stage_id="stage-0", blocks=blocks(*indexes), completed=completed
        )
        await agent.call("ReportStageLogsFromLastCheckpoint", request)

    await append(10, 11)
    assert await _log(plane) == ([10, 11], False)
    await append(11, 12)
    await checkpoint(10, 11, 12)
    await append(13)
    assert await _log(plane) == ([10, 11, 12, 13], False)
    assert await _log(plane, offset=12) == ([12, 13], False)
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_RUNNING))
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_SUCCESS))
    late = logs_pb2.ReportStageLogsRequest(deployment_id="d1", stage_id="stage-0", blocks=blocks(99))
    assert await agent.code("ReportStageLogs", late) == "FAILED_PRECONDITION"
    await checkpoint(13, 14, completed=True)
    assert await _log(plane) == ([10, 11, 12, 13, 14], True)


async def test_a_log_file_of_pipecd_is_read(plane: ControlPlane, agent: Agent, tmp_path: Path) -> None:
    """Earlier versions wrote the same files."""
    await create_planned_deployment(plane, agent)
    file = tmp_path / "objects" / "log" / "d1" / "stage-0" / "0.txt"
    file.parent.mkdir(parents=True)
    file.write_text('{"index":1,"log":"line 1\\n","created_at":1}\nEOL\n')
    assert await _log(plane) == ([1], True)
    request = logs_pb2.ReportStageLogsFromLastCheckpointRequest(
        deployment_id="d1", stage_id="stage-0", blocks=blocks(1, 2), completed=True
    )
    await agent.call("ReportStageLogsFromLastCheckpoint", request)
    assert await _log(plane) == ([1, 2], True)


async def test_shared_objects_belong_to_their_application(plane: ControlPlane, agent: Agent) -> None:
    application_id = await application(plane, agent)

    def get(key: str) -> Any:
        return objects_pb2.GetApplicationSharedObjectRequest(
            application_id=application_id, plugin_name="terraform", key=key
        )

    put = objects_pb2.PutApplicationSharedObjectRequest(
        application_id=application_id, plugin_name="terraform", key="plan", object=b"\x00\xff"
    )
    assert await agent.code("GetApplicationSharedObject", get("plan")) == "NOT_FOUND"
    await agent.call("PutApplicationSharedObject", put)
    assert (await agent.call("GetApplicationSharedObject", get("plan"))).object == b"\x00\xff"
    for key in ("../../secret", "..", "a/b"):
        assert await agent.code("GetApplicationSharedObject", get(key)) == "INVALID_ARGUMENT"


async def test_a_second_process_waits_for_the_first(plane: ControlPlane, agent: Agent) -> None:
    """Invariant 1: of two processes of one piped, one is active; the other takes over when it disconnects."""
    await create_planned_deployment(plane, agent)
    key = agent.metadata[0][1].split(",")[2]
    active = Agent(agent.channel, agent.id, key, instance="one")
    standby = Agent(agent.channel, agent.id, key, instance="two")
    report = stage_report(StageStatus.STAGE_RUNNING)
    assert await active.code("ReportStageStatusChanged", report) == "UNAVAILABLE", "it should retry"
    first = agent.watch("one")
    assert (await first.read()).kind == AgentChange.LEASE_GRANTED
    second = agent.watch("two")
    assert (await second.read()).kind == AgentChange.LEASE_HELD
    assert await standby.code("ReportStageStatusChanged", report) == "FAILED_PRECONDITION"
    assert await agent.code("ReportStageStatusChanged", report) == "FAILED_PRECONDITION", "no instance"
    assert await active.code("ReportStageStatusChanged", report) == "OK"
    first.cancel()
    async with asyncio.timeout(60):
        while (await second.read()).kind != AgentChange.LEASE_GRANTED:
            pass
    assert await standby.code("ReportStageStatusChanged", stage_report(StageStatus.STAGE_SUCCESS)) == "OK"
    second.cancel()


async def next_change(stream: Any) -> Any:
    """The next change of the stream that is not a heartbeat."""
    async with asyncio.timeout(60):
        while (change := await stream.read()).kind == AgentChange.HEARTBEAT:
            pass
    return change


async def test_an_agent_is_notified_of_users_changes_but_not_of_its_own(
    plane: ControlPlane, agent: Agent
) -> None:
    stream = agent.watch("one")
    assert (await stream.read()).kind == AgentChange.LEASE_GRANTED
    application_id = await application(plane, agent)
    assert (await next_change(stream)).kind == AgentChange.APPLICATIONS
    instance = Agent(agent.channel, agent.id, agent.metadata[0][1].split(",")[2], instance="one")
    await instance.call(
        "ReportApplicationDeployingStatus",
        applications_pb2.ReportApplicationDeployingStatusRequest(application_id=application_id),
    )
    await plane.console.call("SyncApplication", application_id=application_id)
    change = await next_change(stream)
    assert change.kind == AgentChange.COMMANDS
    listed = await agent.call("ListUnhandledCommands", commands_pb2.ListUnhandledCommandsRequest())
    assert [command.id for command in listed.commands] == [change.id]
    stream.cancel()


async def test_a_disabled_agent_is_notified_at_once(plane: ControlPlane, agent: Agent) -> None:
    stream = agent.watch("one")
    assert (await stream.read()).kind == AgentChange.LEASE_GRANTED
    await plane.console.call("DisablePiped", piped_id=agent.id)
    async with asyncio.timeout(60):
        while (await stream.read()).kind != AgentChange.REVOKED:
            pass
        assert await stream.read() is aio.EOF
    with pytest.raises(aio.AioRpcError) as rejected:
        await agent.watch("one").read()
    assert rejected.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_command_is_handled_once(plane: ControlPlane, agent: Agent) -> None:
    application_id = await application(plane, agent)
    sync = await plane.console.call("SyncApplication", application_id=application_id)

    def handled(status: CommandStatus.ValueType, output: bytes) -> Any:
        return commands_pb2.ReportCommandHandledRequest(
            command_id=sync.command_id,
            status=status,
            handled_at=1,
            metadata={"TriggeredDeploymentID": "d"},
            output=output,
        )

    first = handled(CommandStatus.COMMAND_SUCCEEDED, b"first")
    assert await agent.code("ReportCommandHandled", first) == "OK"
    assert await agent.code("ReportCommandHandled", first) == "OK"
    late = handled(CommandStatus.COMMAND_FAILED, b"late")
    assert await agent.code("ReportCommandHandled", late) == "FAILED_PRECONDITION"
    repeated = handled(CommandStatus.COMMAND_SUCCEEDED, b"another")
    assert await agent.code("ReportCommandHandled", repeated) == "OK"
    assert await plane.server.services.blobs.command_output(sync.command_id) == b"first"
    stored = await plane.console.call("GetCommand", command_id=sync.command_id)
    assert stored.command.metadata["TriggeredDeploymentID"] == "d"


async def test_unregistered_applications_are_replaced_by_each_report(
    plane: ControlPlane, agent: Agent
) -> None:
    def report(*names: str) -> Any:
        return applications_pb2.ReportUnregisteredApplicationConfigurationsRequest(
            applications=[
                ApplicationInfo(name=name, repo_id="demo", path=f"apps/{name}", piped_id=agent.id)
                for name in names
            ]
        )

    name = "ReportUnregisteredApplicationConfigurations"
    await agent.call(name, report("b", "a"))
    listed = await plane.console.call("ListUnregisteredApplications")
    assert [(info.name, info.piped_id) for info in listed.applications] == [("a", agent.id), ("b", agent.id)]
    await agent.call(name, report())
    assert not (await plane.console.call("ListUnregisteredApplications")).applications


async def test_a_deleted_application_is_not_listed_for_agents(plane: ControlPlane, agent: Agent) -> None:
    application_id = await application(plane, agent)
    await plane.console.call("DeleteApplication", application_id=application_id)
    listed = await agent.call("ListApplications", applications_pb2.ListApplicationsRequest())
    assert not listed.applications
    record = (await plane.server.services.store.get(Application, application_id)).message
    assert record.deleted and record.disabled
    with pytest.raises(CallFailed):
        await plane.console.call("SyncApplication", application_id=application_id)
    with pytest.raises(CallFailed, match="deleted"):
        await plane.console.call("EnableApplication", application_id=application_id)


@pytest.mark.parametrize("version", ["v0.2.0", "v0.52.1-rc0", "v0.52.0-12-g1a2b3c4", "v1.2.3+build.4"])
async def test_a_valid_desired_version_is_stored(plane: ControlPlane, agent: Agent, version: str) -> None:
    await plane.console.call("UpdatePipedDesiredVersion", piped_ids=[agent.id], version=version)
    desired = await agent.call("GetDesiredVersion", pipeds_pb2.GetDesiredVersionRequest())
    assert desired.version == version


@pytest.mark.parametrize("version", ["vwhat ever!", "v", "v1/../2", "v1\n", "v" + "1" * 200])
async def test_an_invalid_desired_version_is_rejected(
    plane: ControlPlane, agent: Agent, version: str
) -> None:
    with pytest.raises(CallFailed, match=r"is not a version.*v0\.2\.0"):
        await plane.console.call("UpdatePipedDesiredVersion", piped_ids=[agent.id], version=version)
    desired = await agent.call("GetDesiredVersion", pipeds_pb2.GetDesiredVersionRequest())
    assert desired.version == ""

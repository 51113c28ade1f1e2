"""What an agent does at the control plane: reports, logs, leases; and what it must not do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from pipecd.controlplane.rpc import watch
from pipecd.schema.agent import (
    applications_pb2,
    chains_pb2,
    commands_pb2,
    deployments_pb2,
    logs_pb2,
    objects_pb2,
    pipeds_pb2,
    service_pb2_grpc,
)
from pipecd.schema.model.application_pb2 import Application, ApplicationInfo
from pipecd.schema.model.chain_pb2 import ChainStatus, DeploymentChain
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from pipecd.schema.pipecd.v1 import agent_pb2, agent_pb2_grpc
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange
from tests.controlplane.server_fixture import PROJECT, CallFailed, ControlPlane, control_plane
from tests.eventually import eventually


class Agent:
    """A piped with one application, calling as PipeCD's own does."""

    def __init__(self, channel: aio.Channel, piped_id: str, key: str, instance: str = "") -> None:
        self.id, self.channel = piped_id, channel
        self.metadata: list[tuple[str, str]] = [("authorization", f"PIPED-TOKEN {PROJECT},{piped_id},{key}")]
        if instance:
            self.metadata.append(("pipecd-instance", instance))
        self.stub = service_pb2_grpc.PipedServiceStub(channel)  # type: ignore[no-untyped-call]

    async def call(self, name: str, request: Any) -> Any:
        return await getattr(self.stub, name)(request, metadata=self.metadata, timeout=60)

    async def code(self, name: str, request: Any) -> str:
        try:
            await self.call(name, request)
        except aio.AioRpcError as error:
            return error.code().name
        return "OK"

    def watch(self, instance: str) -> Any:
        stub = agent_pb2_grpc.AgentServiceStub(self.channel)  # type: ignore[no-untyped-call]
        return stub.Watch(agent_pb2.AgentWatchRequest(instance=instance), metadata=self.metadata)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


@pytest.fixture
async def agent(plane: ControlPlane) -> AsyncIterator[Agent]:
    piped_id, key = await plane.register_piped()
    async with aio.insecure_channel(plane.address) as channel:
        made = Agent(channel, piped_id, key)
        repository = ApplicationGitRepository(id="demo", remote="https://git.example/d.git", branch="main")
        await made.call("ReportPipedMeta", pipeds_pb2.ReportPipedMetaRequest(repositories=[repository]))
        yield made


async def application(plane: ControlPlane, agent: Agent, name: str = "shop") -> str:
    made = await plane.console.call(
        "AddApplication",
        name=name,
        piped_id=agent.id,
        kind=ApplicationKind.TERRAFORM,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="demo"), path=name),
    )
    return str(made.application_id)


def deployment(agent: Agent, application_id: str, id: str = "d1") -> Deployment:
    return Deployment(
        id=id,
        application_id=application_id,
        application_name="whatever",
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


async def planned(plane: ControlPlane, agent: Agent, id: str = "d1") -> str:
    application_id = await application(plane, agent)
    made = deployment(agent, application_id, id)
    await agent.call("CreateDeployment", deployments_pb2.CreateDeploymentRequest(deployment=made))
    stage = PipelineStage(id="stage-0", name="WAIT", created_at=1, updated_at=1)
    report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id=id, stages=[stage])
    await agent.call("ReportDeploymentPlanned", report)
    return application_id


def completed(id: str, status: DeploymentStatus.ValueType) -> Any:
    return deployments_pb2.ReportDeploymentCompletedRequest(
        deployment_id=id, status=status, completed_at=5, stage_statuses={}
    )


def stage_report(status: StageStatus.ValueType) -> Any:
    return deployments_pb2.ReportStageStatusChangedRequest(
        deployment_id="d1", stage_id="stage-0", status=status, completed_at=1
    )


async def test_a_deployment_is_created_once(plane: ControlPlane, agent: Agent) -> None:
    """Invariant 2: the second making of the same one is told so."""
    made = deployment(agent, await application(plane, agent))
    request = deployments_pb2.CreateDeploymentRequest(deployment=made)
    assert await agent.code("CreateDeployment", request) == "OK"
    assert await agent.code("CreateDeployment", request) == "ALREADY_EXISTS"
    kept = await plane.console.call("GetDeployment", deployment_id="d1")
    assert kept.deployment.application_name == "shop", "the application's record is the truth"


async def test_two_deployments_of_an_application_are_not_at_work_together(
    plane: ControlPlane, agent: Agent
) -> None:
    """Invariant 1."""
    application_id = await planned(plane, agent)
    second = deployment(agent, application_id, "d2")
    await agent.call("CreateDeployment", deployments_pb2.CreateDeploymentRequest(deployment=second))
    report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id="d2")
    assert await agent.code("ReportDeploymentPlanned", report) == "FAILED_PRECONDITION"
    await agent.call("ReportDeploymentCompleted", completed("d1", DeploymentStatus.DEPLOYMENT_FAILURE))
    assert await agent.code("ReportDeploymentPlanned", report) == "OK"


async def test_the_end_is_the_end(plane: ControlPlane, agent: Agent) -> None:
    """Invariant 3: for the deployment and for its stages, whoever is late."""
    await planned(plane, agent)
    status = DeploymentStatus
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_RUNNING))
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_SUCCESS))
    late = stage_report(StageStatus.STAGE_RUNNING)
    assert await agent.code("ReportStageStatusChanged", late) == "FAILED_PRECONDITION"
    await agent.call("ReportDeploymentCompleted", completed("d1", status.DEPLOYMENT_SUCCESS))
    again = completed("d1", status.DEPLOYMENT_SUCCESS)
    assert await agent.code("ReportDeploymentCompleted", again) == "OK", "saying it twice is no conflict"
    other = completed("d1", status.DEPLOYMENT_FAILURE)
    assert await agent.code("ReportDeploymentCompleted", other) == "FAILED_PRECONDITION"
    running = deployments_pb2.ReportDeploymentStatusChangedRequest(
        deployment_id="d1", status=status.DEPLOYMENT_RUNNING
    )
    assert await agent.code("ReportDeploymentStatusChanged", running) == "FAILED_PRECONDITION"
    kept = await plane.console.call("GetDeployment", deployment_id="d1")
    assert kept.deployment.status == status.DEPLOYMENT_SUCCESS


def blocks(*indexes: int) -> list[LogBlock]:
    return [LogBlock(index=index, log=f"line {index}\n", created_at=1) for index in indexes]


async def _log(plane: ControlPlane, offset: int = 0) -> tuple[list[int], bool]:
    answer = await plane.console.call(
        "GetStageLog", deployment_id="d1", stage_id="stage-0", offset_index=offset
    )
    return [block.index for block in answer.blocks], answer.completed


async def test_log_lines_are_merged_and_none_is_lost(plane: ControlPlane, agent: Agent) -> None:
    await planned(plane, agent)
    with pytest.raises(CallFailed, match="no log yet"):
        await _log(plane)

    async def say(*indexes: int) -> None:
        request = logs_pb2.ReportStageLogsRequest(
            deployment_id="d1", stage_id="stage-0", blocks=blocks(*indexes)
        )
        await agent.call("ReportStageLogs", request)

    async def checkpoint(*indexes: int, completed: bool = False) -> None:
        request = logs_pb2.ReportStageLogsFromLastCheckpointRequest(
            deployment_id="d1", stage_id="stage-0", blocks=blocks(*indexes), completed=completed
        )
        await agent.call("ReportStageLogsFromLastCheckpoint", request)

    await say(10, 11)
    assert await _log(plane) == ([10, 11], False)
    await say(11, 12)
    await checkpoint(10, 11, 12)
    await say(13)
    assert await _log(plane) == ([10, 11, 12, 13], False)
    assert await _log(plane, offset=12) == ([12, 13], False)
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_RUNNING))
    await agent.call("ReportStageStatusChanged", stage_report(StageStatus.STAGE_SUCCESS))
    late = logs_pb2.ReportStageLogsRequest(deployment_id="d1", stage_id="stage-0", blocks=blocks(99))
    assert await agent.code("ReportStageLogs", late) == "FAILED_PRECONDITION"
    await checkpoint(13, 14, completed=True)
    assert await _log(plane) == ([10, 11, 12, 13, 14], True)


async def test_the_log_file_is_pipecds(plane: ControlPlane, agent: Agent, tmp_path: Path) -> None:
    await planned(plane, agent)
    request = logs_pb2.ReportStageLogsFromLastCheckpointRequest(
        deployment_id="d1", stage_id="stage-0", blocks=blocks(1), completed=True
    )
    await agent.call("ReportStageLogsFromLastCheckpoint", request)
    text = (tmp_path / "objects" / "log" / "d1" / "stage-0" / "0.txt").read_text()
    assert text == '{"index":1,"log":"line 1\\n","created_at":1}\nEOL\n'


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


async def test_a_second_process_waits_for_the_first(
    plane: ControlPlane, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1 again: of two processes of one piped, one works; the other takes over at once."""
    # Not because a busy machine let the lease expire.
    monkeypatch.setattr(watch, "LEASE", 600.0)
    await planned(plane, agent)
    key = agent.metadata[0][1].split(",")[2]
    one = Agent(agent.channel, agent.id, key, instance="one")
    two = Agent(agent.channel, agent.id, key, instance="two")
    report = stage_report(StageStatus.STAGE_RUNNING)
    assert await one.code("ReportStageStatusChanged", report) == "UNAVAILABLE", "it is to come again"
    first = agent.watch("one")
    assert (await first.read()).kind == AgentChange.LEASE_GRANTED
    second = agent.watch("two")
    assert (await second.read()).kind == AgentChange.LEASE_HELD
    assert await two.code("ReportStageStatusChanged", report) == "FAILED_PRECONDITION"
    assert await agent.code("ReportStageStatusChanged", report) == "FAILED_PRECONDITION", "nameless"
    assert await one.code("ReportStageStatusChanged", report) == "OK"
    first.cancel()
    async with asyncio.timeout(60):
        while (await second.read()).kind != AgentChange.LEASE_GRANTED:
            pass
    assert await two.code("ReportStageStatusChanged", stage_report(StageStatus.STAGE_SUCCESS)) == "OK"
    second.cancel()


async def spoken(stream: Any) -> Any:
    """What the stream says next, heartbeats aside."""
    async with asyncio.timeout(60):
        while (change := await stream.read()).kind == AgentChange.HEARTBEAT:
            pass
    return change


async def test_an_agent_hears_of_what_people_ask_and_not_of_itself(plane: ControlPlane, agent: Agent) -> None:
    stream = agent.watch("one")
    assert (await stream.read()).kind == AgentChange.LEASE_GRANTED
    application_id = await application(plane, agent)
    assert (await spoken(stream)).kind == AgentChange.APPLICATIONS
    named = Agent(agent.channel, agent.id, agent.metadata[0][1].split(",")[2], instance="one")
    await named.call(
        "ReportApplicationDeployingStatus",
        applications_pb2.ReportApplicationDeployingStatusRequest(application_id=application_id),
    )
    await plane.console.call("SyncApplication", application_id=application_id)
    change = await spoken(stream)
    assert change.kind == AgentChange.COMMANDS
    listed = await agent.call("ListUnhandledCommands", commands_pb2.ListUnhandledCommandsRequest())
    assert [one.id for one in listed.commands] == [change.id]
    stream.cancel()


async def test_a_disabled_agent_is_told_at_once(plane: ControlPlane, agent: Agent) -> None:
    stream = agent.watch("one")
    assert (await stream.read()).kind == AgentChange.LEASE_GRANTED
    await plane.console.call("DisablePiped", piped_id=agent.id)
    async with asyncio.timeout(60):
        while (await stream.read()).kind != AgentChange.REVOKED:
            pass
        assert await stream.read() is aio.EOF
    with pytest.raises(aio.AioRpcError) as refused:
        await agent.watch("one").read()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_command_is_answered_once(plane: ControlPlane, agent: Agent) -> None:
    application_id = await application(plane, agent)
    made = await plane.console.call("SyncApplication", application_id=application_id)

    def answer(status: CommandStatus.ValueType) -> Any:
        return commands_pb2.ReportCommandHandledRequest(
            command_id=made.command_id, status=status, handled_at=1, metadata={"TriggeredDeploymentID": "d"}
        )

    assert await agent.code("ReportCommandHandled", answer(CommandStatus.COMMAND_SUCCEEDED)) == "OK"
    assert await agent.code("ReportCommandHandled", answer(CommandStatus.COMMAND_SUCCEEDED)) == "OK"
    late = answer(CommandStatus.COMMAND_FAILED)
    assert await agent.code("ReportCommandHandled", late) == "FAILED_PRECONDITION"
    known = await plane.console.call("GetCommand", command_id=made.command_id)
    assert known.command.metadata["TriggeredDeploymentID"] == "d"


async def test_suggestions_come_and_go(plane: ControlPlane, agent: Agent) -> None:
    def found(*names: str) -> Any:
        return applications_pb2.ReportUnregisteredApplicationConfigurationsRequest(
            applications=[
                ApplicationInfo(name=name, repo_id="demo", path=f"apps/{name}", piped_id=agent.id)
                for name in names
            ]
        )

    name = "ReportUnregisteredApplicationConfigurations"
    await agent.call(name, found("b", "a"))
    shown = await plane.console.call("ListUnregisteredApplications")
    assert [(one.name, one.piped_id) for one in shown.applications] == [("a", agent.id), ("b", agent.id)]
    await agent.call(name, found())
    assert not (await plane.console.call("ListUnregisteredApplications")).applications


async def test_a_chain_goes_block_by_block(plane: ControlPlane, agent: Agent) -> None:
    first = await application(plane, agent, "first")
    later = await application(plane, agent, "later")
    matcher = chains_pb2.CreateDeploymentChainRequest.ApplicationMatcher(name="later")
    request = chains_pb2.CreateDeploymentChainRequest(
        first_deployment=deployment(agent, first), matchers=[matcher]
    )
    await agent.call("CreateDeploymentChain", request)
    listed = await agent.call("ListUnhandledCommands", commands_pb2.ListUnhandledCommandsRequest())
    (command,) = listed.commands
    assert command.type == Command.CHAIN_SYNC_APPLICATION
    ask = command.chain_sync_application
    assert (ask.application_id, ask.block_index) == (later, 1)
    second = deployment(agent, later, "d2")
    second.deployment_chain_id, second.deployment_chain_block_index = ask.deployment_chain_id, 1
    await agent.call("CreateDeployment", deployments_pb2.CreateDeploymentRequest(deployment=second))

    async def turn(index: int) -> Any:
        return await agent.call(
            "InChainDeploymentPlannable",
            chains_pb2.InChainDeploymentPlannableRequest(
                deployment_id="d2",
                deployment_chain_id=ask.deployment_chain_id,
                deployment_chain_block_index=index,
            ),
        )

    assert (await turn(0)).plannable
    assert not (await turn(1)).plannable
    report = deployments_pb2.ReportDeploymentPlannedRequest(deployment_id="d1")
    await agent.call("ReportDeploymentPlanned", report)
    await agent.call("ReportDeploymentCompleted", completed("d1", DeploymentStatus.DEPLOYMENT_SUCCESS))

    async def its_turn() -> bool:
        return bool((await turn(1)).plannable)

    assert await eventually(its_turn)
    store = plane.served.plane.store
    chain = (await store.get(DeploymentChain, ask.deployment_chain_id)).message
    assert chain.status == ChainStatus.DEPLOYMENT_CHAIN_RUNNING


async def test_a_deleted_application_is_no_agents_business(plane: ControlPlane, agent: Agent) -> None:
    application_id = await application(plane, agent)
    await plane.console.call("DeleteApplication", application_id=application_id)
    listed = await agent.call("ListApplications", applications_pb2.ListApplicationsRequest())
    assert not listed.applications
    record = (await plane.served.plane.store.get(Application, application_id)).message
    assert record.deleted and record.disabled
    with pytest.raises(CallFailed):
        await plane.console.call("SyncApplication", application_id=application_id)
    with pytest.raises(CallFailed, match="deleted"):
        await plane.console.call("EnableApplication", application_id=application_id)


@pytest.mark.parametrize("version", ["v0.2.0", "v0.52.1-rc0", "v0.52.0-12-g1a2b3c4", "v1.2.3+build.4"])
async def test_a_version_is_asked_for(plane: ControlPlane, agent: Agent, version: str) -> None:
    await plane.console.call("UpdatePipedDesiredVersion", piped_ids=[agent.id], version=version)
    wanted = await agent.call("GetDesiredVersion", pipeds_pb2.GetDesiredVersionRequest())
    assert wanted.version == version


@pytest.mark.parametrize("version", ["vwhat ever!", "v", "v1/../2", "v1\n", "v" + "1" * 200])
async def test_what_is_no_version_is_not_asked_for(plane: ControlPlane, agent: Agent, version: str) -> None:
    with pytest.raises(CallFailed, match=r"is not a version.*v0\.2\.0"):
        await plane.console.call("UpdatePipedDesiredVersion", piped_ids=[agent.id], version=version)
    wanted = await agent.call("GetDesiredVersion", pipeds_pb2.GetDesiredVersionRequest())
    assert wanted.version == ""

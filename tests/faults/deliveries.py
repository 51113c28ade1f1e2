"""What a team does with a control plane: credentials, deliveries with their logs, and whether all is there.

For tests that upgrade a server, or restore it from a backup: `keys` are created before, and used after.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
from grpc import aio

from pipecd.schema.agent.deployments_pb2 import CreateDeploymentRequest, ReportDeploymentPlannedRequest
from pipecd.schema.agent.logs_pb2 import ReportStageLogsFromLastCheckpointRequest, ReportStageLogsRequest
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest, GetDeploymentResponse
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.deployment_pb2 import DEPLOYMENT_SUCCESS
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage
from tests.controlplane.server_fixture import Console
from tests.controlplane.test_agents import Agent, application, completion_report, deployment
from tests.eventually import eventually
from tests.programs import Program
from tests.raw_grpc import unary

REPOSITORY = ApplicationGitRepository(id="demo", remote="https://git.example/d.git", branch="main")
_GET_DEPLOYMENT = "/grpc.service.apiservice.APIService/GetDeployment"


@dataclass(frozen=True, kw_only=True)
class Keys:
    piped_id: str
    piped_key: str
    api_key: str


@dataclass(frozen=True, kw_only=True)
class Team:
    """A person who has signed in, and the agent and the program of `keys`, at one server."""

    console: Console
    channel: aio.Channel
    keys: Keys

    async def deliver(self, id: str) -> None:
        """An application `app-ID`, and its deployment `ID` with a log of three lines."""
        plane: Any = SimpleNamespace(console=self.console)
        agent = Agent(self.channel, self.keys.piped_id, self.keys.piped_key)
        await agent.call("ReportPipedMeta", ReportPipedMetaRequest(repositories=[REPOSITORY]))
        application_id = await application(plane, agent, f"app-{id}")
        created = deployment(agent, application_id, id)
        created.labels["delivery"] = id
        await agent.call("CreateDeployment", CreateDeploymentRequest(deployment=created))
        stage = PipelineStage(id="stage-0", name="WAIT", created_at=1, updated_at=1)
        planned = ReportDeploymentPlannedRequest(deployment_id=id, stages=[stage])
        await agent.call("ReportDeploymentPlanned", planned)
        blocks = [LogBlock(index=index, log=f"{id}: line {index}", created_at=1) for index in (1, 2, 3)]
        log: dict[str, Any] = {"deployment_id": id, "stage_id": "stage-0", "blocks": blocks}
        await agent.call("ReportStageLogs", ReportStageLogsRequest(**log))
        checkpoint = ReportStageLogsFromLastCheckpointRequest(**log, completed=True)
        await agent.call("ReportStageLogsFromLastCheckpoint", checkpoint)
        await agent.call("ReportDeploymentCompleted", completion_report(id, DEPLOYMENT_SUCCESS))

    async def check(self, ids: Sequence[str]) -> None:
        """The deliveries `ids` are there, for people and programs, by label, with their logs."""
        names = {
            application.name for application in (await self.console.call("ListApplications")).applications
        }
        assert {f"app-{id}" for id in ids} <= names
        for id in ids:
            request = GetDeploymentRequest(deployment_id=id).SerializeToString()
            metadata = (("authorization", f"API-KEY {self.keys.api_key}"),)
            answer = await unary(self.channel, _GET_DEPLOYMENT)(request, metadata=metadata)
            assert GetDeploymentResponse.FromString(answer).deployment.status == DEPLOYMENT_SUCCESS
            listed = await self.console.call("ListDeployments", options={"labels": {"delivery": id}})
            assert [found.id for found in listed.deployments] == [id]
            log = await self.console.call("GetStageLog", deployment_id=id, stage_id="stage-0")
            assert [block.log for block in log.blocks] == [f"{id}: line {index}" for index in (1, 2, 3)]
            assert log.completed

    async def verify_audit(self, **known: Any) -> Any:
        """The answer of the verification, once all changes have joined the chain."""

        async def verified() -> Any:
            answer = await self.console.call("VerifyAudit", **known)
            assert not answer.broken_reason, answer
            return answer.head_position and answer.completed and answer

        return await eventually(verified)


async def create_keys(console: Console) -> Keys:
    piped = await console.call("RegisterPiped", name="home")
    key = await console.call("GenerateAPIKey", name="ci", role=APIKey.READ_ONLY)
    return Keys(piped_id=piped.id, piped_key=piped.key, api_key=key.key)


@asynccontextmanager
async def team(ports: Sequence[int], keys: Keys | None = None) -> AsyncIterator[Team]:
    """Of the server at these ports, gRPC and HTTP; signs in. Without `keys`, they are created."""
    api, http = ports
    console = Console(f"http://127.0.0.1:{http}")
    async with console.http, aio.insecure_channel(f"127.0.0.1:{api}") as channel:
        await console.sign_in()
        yield Team(console=console, channel=channel, keys=keys or await create_keys(console))


async def wait_for_server(http: int, program: Program | None = None) -> None:
    """Returns when the server answers."""

    async def answers() -> bool:
        if program and program.poll() is not None:
            raise RuntimeError(f"the server has ended with {program.poll()}")
        async with httpx.AsyncClient(verify=False) as client:
            try:
                return (await client.get(f"http://127.0.0.1:{http}/")).status_code < 600
            except httpx.TransportError:
                return False

    await eventually(answers)

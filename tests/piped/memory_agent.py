"""An agent in memory and in virtual time: real rollouts, stages and reports without network or Git.

agent = memory_agent(tmp_path, clock, pipeline({"name": "WAIT"}))
async with agent.running():
    await clock.advance(60)
assert agent.deployment.status is DeploymentStatus.SUCCESS
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from pipecd.config import piped as config
from pipecd.config.application import ApplicationConfig
from pipecd.errors import Temporary
from pipecd.git.access import Access
from pipecd.git.credentials import Credentials, User
from pipecd.git.other_repositories import OtherRepositories
from pipecd.git.tree import Trees
from pipecd.model.application import Application, GitPath
from pipecd.model.command import ApproveStage, CancelDeployment, Command
from pipecd.model.deployment import Deployment
from pipecd.model.notification import NotificationEvent
from pipecd.model.plan import pipeline_stages
from pipecd.model.progress import Finish
from pipecd.model.stage import Source, StageFunction, StopFunction
from pipecd.model.status import DeploymentStatus
from pipecd.piped.deploy.call_slots import CallSlots
from pipecd.piped.deploy.perform import StageServices
from pipecd.piped.deploy.rollout import Rollout, RolloutServices
from pipecd.piped.deploy.sealed_objects import EncryptedObjects
from pipecd.piped.deploy.stage_logs import StageLogs
from pipecd.piped.providers import Providers
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.sync_states import SyncStates
from pipecd.piped.session.view import View
from pipecd.piped.settings import Settings
from pipecd.piped.source.checkout import decode_config
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform
from pipecd.schema.agent.applications_pb2 import ListApplicationsResponse
from pipecd.schema.agent.deployments_pb2 import GetDeploymentRequest, GetDeploymentResponse
from pipecd.schema.model.application_pb2 import Application as ApplicationMessage
from pipecd.secrets import Redactor
from pipecd.wire import deployment_to, git_path_to, kind_number
from tests.model.samples import deployment as sample
from tests.piped.memory import Calls, memory_client
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock
from tests.world import agent_spec

SETTINGS = Settings()
NO_STAGES: Mapping[str, StageFunction] = {}
NO_STOP: Mapping[str, StopFunction] = {}
Plan = Callable[[Deployment, Application], Awaitable[Deployment | Finish | None]]


class MemorySources:
    """Checkouts of one file. `outage` is raised by every use."""

    def __init__(self, text: str, folder: Path) -> None:
        self._config, self._folder = decode_config(text.encode(), "app/app.pipecd.yaml"), folder
        self.outage: Exception | None = None
        self.uses = 0

    async def load_config(self, git_path: GitPath, commit: str) -> ApplicationConfig:
        self.uses += 1
        if self.outage:
            raise self.outage
        return self._config

    @asynccontextmanager
    async def checkout(self, git_path: GitPath, commit: str, **_: Any) -> AsyncIterator[Source]:
        config = await self.load_config(git_path, commit)
        yield Source(commit=commit, root=self._folder, directory=self._folder, config=config)


class Planner:
    """Calls `plan`, and records when."""

    def __init__(self, clock: VirtualClock, plan: Plan) -> None:
        self._clock, self._plan = clock, plan
        self.at: list[float] = []

    async def plan(self, deployment: Deployment, application: Application) -> Deployment | Finish | None:
        self.at.append(self._clock.monotonic())
        return await self._plan(deployment, application)


@dataclass
class MemoryAgent:
    clock: VirtualClock
    calls: Calls
    view: View
    services: RolloutServices
    sources: MemorySources
    planner: Planner
    rollout: Rollout
    #: The notifications.
    events: list[NotificationEvent]

    @property
    def deployment(self) -> Deployment:
        return self.rollout.deployment

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[bool]]:
        """Runs the deployment and sends its logs while the block runs."""
        logs = asyncio.create_task(self.services.stage_services.logs.run(), name="logs")
        task = asyncio.create_task(self.rollout.run(), name="rollout")
        try:
            yield task
        finally:
            task.cancel()
            logs.cancel()
            await asyncio.wait([task, logs])
            if not task.cancelled() and (error := task.exception()):
                raise error

    def request(self, command: Command) -> None:
        """A user's command, as the control plane forwards it."""
        self.view.commands = {**self.view.commands, command.id: command}
        self.view.commands_feed()

    def cancel(self) -> None:
        self.request(CancelDeployment(id="cancel", commander="ada", deployment_id=self.deployment.id))

    def approve(self, stage_id: str) -> None:
        self.request(
            ApproveStage(id="approve", commander="ada", deployment_id=self.deployment.id, stage_id=stage_id)
        )

    def reject(self, stage_id: str) -> None:
        self.request(
            CancelDeployment(
                id="reject",
                commander="ada",
                deployment_id=self.deployment.id,
                rejected_stage_id=stage_id,
                comment="not today",
            )
        )

    @property
    def log(self) -> list[str]:
        """The lines of all stages that were sent."""
        requests = self.calls.requests("ReportStageLogs")
        requests += self.calls.requests("ReportStageLogsFromLastCheckpoint")
        blocks = {block.index: block.log for request in requests for block in request.blocks}
        return [blocks[index] for index in sorted(blocks)]


async def not_planned(deployment: Deployment, application: Application) -> Deployment:
    raise Temporary("Git is away")


def application_message(deployment: Deployment) -> ApplicationMessage:
    """The application as the control plane lists it."""
    return ApplicationMessage(
        id=deployment.application_id,
        name=deployment.application_name,
        piped_id=deployment.piped_id,
        project_id=deployment.project_id,
        kind=kind_number(deployment.kind),
        git_path=git_path_to(deployment.git_path),
    )


def memory_agent(
    folder: Path,
    clock: VirtualClock,
    file: str,
    *,
    planned: bool = True,
    plan: Plan = not_planned,
    settings: Settings = SETTINGS,
    stages: Mapping[str, StageFunction] = NO_STAGES,
    stop: Mapping[str, StopFunction] = NO_STOP,
    **fields: Any,
) -> MemoryAgent:
    """`file` is the application's file. Unless `planned`, `plan` plans the deployment.

    `stages` replaces stages, of any platform; `stop` says how some are stopped.
    """

    def altered_platform(kind: str) -> Platform[Any]:
        platform = load_platform(kind)
        return replace(platform, stages={**platform.stages, **stages}, stop=stop)

    calls, leadership = Calls(), Leadership()
    leadership.set_lease(Lease.GRANTED)
    client = memory_client(calls, clock)
    sources = MemorySources(file, folder)
    deployment = replace(sample(), **fields)
    if planned:
        pipeline = sources._config.spec.pipeline
        planned_stages = pipeline_stages(pipeline.stages, rolls_back=False, auto_rollback=False)
        deployment = replace(deployment, status=DeploymentStatus.PLANNED, stages=tuple(planned_stages))

    def get_deployment(request: GetDeploymentRequest) -> GetDeploymentResponse:
        """Every deployment is as this one was at first."""
        stored = deployment_to(replace(deployment, id=request.id), now=1)
        return GetDeploymentResponse(deployment=stored)

    calls.answers["GetDeployment"] = get_deployment
    listed = ListApplicationsResponse(applications=[application_message(deployment)])
    calls.answers["ListApplications"] = lambda _: listed
    view, reporter = View(client, clock), Reporter(client, Redactor(), clock)
    view.applications = {deployment.application_id: application(deployment)}
    user = User(name="piped", email="piped@example.com")
    spec = config.load(json.dumps(agent_spec("x", "p", folder / "key", {})), "piped.yaml")
    planner: Any = Planner(clock, plan)
    events: list[NotificationEvent] = []
    services = RolloutServices(
        view=view,
        leadership=leadership,
        reporter=reporter,
        sync_states=SyncStates(reporter, clock, events.append),
        planner=planner,
        stage_services=StageServices(
            sources=cast(Any, sources),
            other_repositories=OtherRepositories(
                home=folder / "worktrees",
                user=user,
                trees=Trees(folder, Access(credentials=Credentials()), asyncio.Semaphore()),
            ),
            logs=StageLogs(client, Redactor(), clock, settings.stage_logs),
            providers=Providers(spec),
            encrypted_objects=EncryptedObjects(client, "key", folder / "objects"),
            analysis=cast(Any, None),
            call_slots=CallSlots(64),
            notify=events.append,
            clock=clock,
            settings=settings.stages,
            load_platform=altered_platform,
        ),
        notify=events.append,
        clock=clock,
        settings=settings.rollout,
    )
    rollout = Rollout(deployment, services)
    return MemoryAgent(clock, calls, view, services, sources, planner, rollout, events)

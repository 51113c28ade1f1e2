"""A complete installation: a real control plane, a Git remote and an agent.

    async with world(tmp_path) as w, w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        deployment = await w.wait_for_deployment(app)

Everything runs in the test's process, on free ports; `tests.faults.processes` runs the same as processes.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog
import yaml

from pipecd import piped
from pipecd.client import Transport
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import piped as config
from pipecd.model.status import DeploymentStatus, SyncStatus
from pipecd.piped.options import Options
from pipecd.piped.settings import ConnectSettings, Settings
from pipecd.quickstart.git_server import GitServer
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.deployment_pb2 import DeploymentStatus as WireStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.web.deployments_pb2 import ListDeploymentsRequest
from tests.controlplane.server_fixture import CallFailed, Console, ControlPlane, control_plane
from tests.eventually import eventually
from tests.repo import Clone

REPOSITORY = "shop"
#: Of agents in tests: a busy machine may take longer to connect.
SETTINGS = Settings(connect=ConnectSettings(dial_timeout=30.0))


def app_file(name: str = "shop", **spec: Any) -> str:
    """An application's file, as YAML."""
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "TerraformApp",
        "spec": {"name": name, **spec},
    }
    return yaml.safe_dump(document, sort_keys=False)


def pipeline(*stages: Mapping[str, Any] | str, name: str = "shop", **spec: Any) -> str:
    """An application file with a pipeline of `stages`; a string is the command of a SCRIPT_RUN stage."""
    configured_stages = [
        {"name": "SCRIPT_RUN", "with": {"run": stage}} if isinstance(stage, str) else dict(stage)
        for stage in stages
    ]
    return app_file(name, pipeline={"stages": configured_stages}, **spec)


def terraform(state: Path, body: str = "") -> str:
    """Terraform configuration with a persistent local state."""
    return f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n{body}'


def agent_spec(
    address: str, piped_id: str, key_file: Path, remotes: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """An agent's configuration. Intervals are long, because change notifications must suffice."""
    spec = {
        "projectID": "shop",
        "pipedID": piped_id,
        "pipedKeyFile": str(key_file),
        "apiAddress": address,
        "syncInterval": "1m",
        "repositories": [
            {"repoId": repo_id, "remote": remote, "branch": "main"} for repo_id, remote in remotes.items()
        ],
        # Drift detection would run Terraform, which most tests do not need.
        "platformProviders": [
            {"name": "terraform", "type": "TERRAFORM", "config": {"driftDetectionEnabled": False}}
        ],
        **more,
    }
    return {"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": spec}


@dataclass
class ConsoleUser:
    """A user of the console who also pushes to the repository."""

    console: Console
    clone: Clone
    piped_id: str
    folder: Path
    #: Ids of deployments in the order in which they were first seen; records have only whole seconds.
    _seen: list[str] = field(init=False, default_factory=list)

    async def add_application(
        self, name: str, files: Mapping[str, str | None] | None = None, *, kind: int = TERRAFORM
    ) -> str:
        """Push the application's files below `name/` and register it with the agent. Returns its id."""
        if files is not None:
            all_files = {"main.tf": terraform(self.folder / f"{name}.tfstate"), **files}
            await self.push(f"Add {name}", {f"{name}/{path}": text for path, text in all_files.items()})
        return await self.register(name, kind=kind)

    async def register(self, name: str, *, kind: int, provider: str = "terraform") -> str:
        """Register the application that was pushed below `name/` with the agent. Returns its id."""
        return await self._register(name, kind=kind, platform_provider=provider)

    async def register_plugin(self, name: str, *, plugin: str, provider: str) -> str:
        """Register an application of a kind that has no number."""
        targets = {plugin: DeployTargets(deploy_targets=[provider])}
        return await self._register(name, deploy_targets_by_plugin=targets)

    async def _register(self, name: str, **fields: Any) -> str:
        await eventually(self.has_repositories)
        response = await self.console.call(
            "AddApplication",
            name=name,
            piped_id=self.piped_id,
            **fields,
            git_path=ApplicationGitPath(
                repo=ApplicationGitRepository(id=REPOSITORY), path=name, config_filename="app.pipecd.yaml"
            ),
        )
        return str(response.application_id)

    async def has_repositories(self) -> bool:
        """Whether the agent has reported its metadata."""
        response = await self.console.call("GetPiped", piped_id=self.piped_id)
        return bool(response.piped.repositories)

    async def push(self, message: str, files: Mapping[str, str | None]) -> str:
        """Returns the new commit's hash."""
        return await asyncio.to_thread(self.clone.commit_and_push, message, dict(files))

    async def deployments(self, application_id: str) -> Sequence[Deployment]:
        """The application's deployments, oldest first."""
        options = ListDeploymentsRequest.Options(application_ids=[application_id])
        response = await self.console.call("ListDeployments", options=options, page_size=100)
        deployments = sorted(
            response.deployments,
            key=lambda deployment: (deployment.created_at, deployment.trigger.timestamp),
        )
        self._seen += [deployment.id for deployment in deployments if deployment.id not in self._seen]
        return sorted(deployments, key=lambda deployment: self._seen.index(deployment.id))

    async def deployment(self, deployment_id: str) -> Deployment:
        response = await self.console.call("GetDeployment", deployment_id=deployment_id)
        deployment: Deployment = response.deployment
        return deployment

    async def wait_for_deployment(
        self, application_id: str, commit: str = "", within: float = 240.0
    ) -> Deployment:
        """Wait until the application's deployment of `commit`, or its last one, has ended. Returns it."""

        async def ended_deployment() -> Deployment | None:
            deployments = [
                deployment
                for deployment in await self.deployments(application_id)
                if not commit or deployment.trigger.commit.hash == commit
            ]
            assert deployments, "no deployment"
            last = deployments[-1]
            status = WireStatus.Name(last.status)
            assert DeploymentStatus(last.status).final, f"{status}: {last.status_reason}"
            return last

        deployment = await eventually(ended_deployment, within)
        assert deployment
        return deployment

    async def wait_until_final(self, deployment_id: str, within: float = 240.0) -> Deployment:
        """Wait until the deployment has ended. Returns it."""

        async def ended_deployment() -> Deployment | None:
            deployment = await self.deployment(deployment_id)
            return deployment if DeploymentStatus(deployment.status).final else None

        deployment = await eventually(ended_deployment, within)
        assert deployment
        return deployment

    async def sync_state(self, application_id: str) -> Any:
        """The application's sync state, as the console shows it."""
        response = await self.console.call("GetApplication", application_id=application_id)
        return response.application.sync_state

    async def wait_for_sync_status(
        self, application_id: str, expected: SyncStatus, *, short_reason: str = "", reason: str = ""
    ) -> Any:
        """Wait until the application's sync state has the status, and reasons that contain these texts.

        Returns the state. It is reported after the deployment has ended.
        """

        async def state_as_expected() -> Any:
            state = await self.sync_state(application_id)
            assert SyncStatus(state.status) is expected, state
            assert short_reason in state.short_reason and reason in state.reason, state
            return state

        return await eventually(state_as_expected)

    async def log(self, deployment_id: str, stage_id: str) -> str:
        """The stage's log; empty while the deployment is not planned yet."""
        try:
            response = await self.console.call("GetStageLog", deployment_id=deployment_id, stage_id=stage_id)
        except CallFailed as error:
            assert error.code == "not_found"
            return ""
        return "\n".join(block.log for block in response.blocks)

    async def wait_for_line(self, application_id: str, stage_id: str, line: str, commit: str = "") -> str:
        """Wait until a stage of the deployment of `commit`, or of the first deployment, has printed `line`.

        Returns the deployment's id. The log also shows scripts, so that a part of a line says little.
        """

        async def deployment_id() -> str:
            for deployment in await self.deployments(application_id):
                if not commit or deployment.trigger.commit.hash == commit:
                    log = await self.log(deployment.id, stage_id)
                    return deployment.id if line in log.split("\n") else ""
            return ""

        return await eventually(deployment_id)

    async def wait_for_log(self, deployment_id: str, stage_id: str, text: str, count: int = 1) -> str:
        """Wait until the stage's log contains `text`; a stage may end shortly before its log is stored."""

        async def matching_log() -> str:
            log = await self.log(deployment_id, stage_id)
            assert log.count(text) >= count, log
            return log

        return await eventually(matching_log)


@dataclass
class World(ConsoleUser):
    plane: ControlPlane
    git: GitServer
    key: str
    #: Shuts the control plane down.
    stop_control_plane: Callable[[], Awaitable[None]]

    def spec(self, **more: Any) -> config.PipedSpec:
        key_file = self.folder / "piped.key"
        key_file.write_text(more.pop("key", self.key))
        remotes = more.pop("remotes", {REPOSITORY: self.git.url(REPOSITORY)})
        document = agent_spec(
            more.pop("address", self.plane.address), self.piped_id, key_file, remotes, **more
        )
        return config.load(json.dumps(document), "piped.yaml")

    def options(self, home: Path | None, admin_port: int, settings: Settings) -> Options:
        return Options(
            transport=Transport(insecure=True),
            admin_host="127.0.0.1",
            admin_port=admin_port,
            home=home or self.folder / "agent",
            settings=settings,
        )

    @asynccontextmanager
    async def agent(self, **more: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Run an agent until the block ends; then shut it down, as by SIGTERM."""
        options = self.options(
            more.pop("home", None), more.pop("admin_port", 0), more.pop("settings", SETTINGS)
        )
        options = replace(options, clock=more.pop("clock", SYSTEM_CLOCK))
        task = asyncio.create_task(piped.run(self.spec(**more), options), name="agent")
        try:
            yield task
        finally:
            task.cancel()
            async with asyncio.timeout(120):
                await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def notify_push(self, repository: str = REPOSITORY) -> None:
        """Announce a push, as a webhook does."""
        store = self.plane.server.services.store
        remote = self.git.url(repository)
        await store.announce("repository", project_id="shop", id=remote, piped_id=self.piped_id)

    async def push(self, message: str, files: Mapping[str, str | None]) -> str:
        commit = await super().push(message, files)
        await self.notify_push()
        return commit


@asynccontextmanager
async def world(folder: Path, *, git_port: int = 0, **more: Any) -> AsyncIterator[World]:
    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    async with AsyncExitStack() as stack:
        git = stack.enter_context(GitServer(folder / "git", port=git_port))
        clone = Clone(folder / "clone", git.url(REPOSITORY), bare=git.create(REPOSITORY))
        await asyncio.to_thread(clone.commit_and_push, "Begin", {"README.md": "a repository\n"})
        plane_stack = await stack.enter_async_context(AsyncExitStack())
        plane = await plane_stack.enter_async_context(control_plane(folder / "plane", **more))
        piped_id, key = await plane.register_piped()
        yield World(
            console=plane.console,
            clone=clone,
            piped_id=piped_id,
            plane=plane,
            stop_control_plane=plane_stack.aclose,
            git=git,
            folder=folder,
            key=key,
        )

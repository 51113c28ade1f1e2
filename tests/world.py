"""Everything at once: a real control plane, a Git remote and an agent, in one line.

    async with world(tmp_path) as w, w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        deployment = await w.ended(app)

Here all runs in the test's process, on free ports; `tests.faults.machines` runs the same as processes.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import yaml

from pipecd import piped
from pipecd.client import Transport
from pipecd.config import piped as config
from pipecd.model.status import DeploymentStatus
from pipecd.piped.options import Options
from pipecd.quickstart.git_server import GitServer
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.deployment_pb2 import DeploymentStatus as WireStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.web.deployments_pb2 import ListDeploymentsRequest
from tests.controlplane.server_fixture import CallFailed, Console, ControlPlane, control_plane
from tests.eventually import eventually
from tests.repo import Clone

REPOSITORY = "shop"


def app_file(name: str = "shop", **spec: Any) -> str:
    """An application's file. JSON is YAML."""
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "TerraformApp",
        "spec": {"name": name, **spec},
    }
    return yaml.safe_dump(document, sort_keys=False)


def pipeline(*stages: Mapping[str, Any] | str, name: str = "shop", **spec: Any) -> str:
    """An application whose pipeline is `stages`; a text is a script."""
    made = [
        {"name": "SCRIPT_RUN", "with": {"run": stage}} if isinstance(stage, str) else dict(stage)
        for stage in stages
    ]
    return app_file(name, pipeline={"stages": made}, **spec)


def terraform(state: Path, body: str = "") -> str:
    """Configuration whose state lasts."""
    return f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n{body}'


def agent_spec(
    address: str, piped_id: str, key_file: Path, remotes: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """The document of an agent's file; slow intervals, because hints must be enough."""
    spec = {
        "projectID": "shop",
        "pipedID": piped_id,
        "pipedKeyFile": str(key_file),
        "apiAddress": address,
        "syncInterval": "1m",
        "repositories": [
            {"repoId": repo_id, "remote": remote, "branch": "main"} for repo_id, remote in remotes.items()
        ],
        # Scripts need no Terraform, and neither do most tests.
        "platformProviders": [
            {"name": "terraform", "type": "TERRAFORM", "config": {"driftDetectionEnabled": False}}
        ],
        **more,
    }
    return {"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": spec}


@dataclass
class Person:
    """Somebody at the console who also pushes to the repository."""

    console: Console
    clone: Clone
    piped_id: str
    folder: Path
    #: Deployments in the order in which they were first seen: records tell their time in whole seconds.
    _seen: list[str] = field(init=False, default_factory=list)

    async def application(
        self, name: str, files: Mapping[str, str | None] | None = None, *, kind: int = TERRAFORM
    ) -> str:
        """Pushes the application's files below `name/`, and registers it with the agent that runs. Its id."""
        if files is not None:
            whole = {"main.tf": terraform(self.folder / f"{name}.tfstate"), **files}
            await self.push(f"Add {name}", {f"{name}/{path}": text for path, text in whole.items()})
        return await self.registered(name, kind=kind)

    async def registered(self, name: str, *, kind: int, provider: str = "terraform") -> str:
        """Registers the application that was pushed below `name/` with the agent that runs. Its id."""
        await eventually(self.has_repositories)
        made = await self.console.call(
            "AddApplication",
            name=name,
            piped_id=self.piped_id,
            kind=kind,
            platform_provider=provider,
            git_path=ApplicationGitPath(
                repo=ApplicationGitRepository(id=REPOSITORY), path=name, config_filename="app.pipecd.yaml"
            ),
        )
        return str(made.application_id)

    async def has_repositories(self) -> bool:
        """Whether the agent has said who it is."""
        answer = await self.console.call("GetPiped", piped_id=self.piped_id)
        return bool(answer.piped.repositories)

    async def push(self, message: str, files: Mapping[str, str | None]) -> str:
        """The new commit."""
        return await asyncio.to_thread(self.clone.commit_and_push, message, dict(files))

    async def deployments(self, application_id: str) -> Sequence[Deployment]:
        """Oldest first."""
        options = ListDeploymentsRequest.Options(application_ids=[application_id])
        answer = await self.console.call("ListDeployments", options=options, page_size=100)
        made = sorted(answer.deployments, key=lambda one: (one.created_at, one.trigger.timestamp))
        self._seen += [one.id for one in made if one.id not in self._seen]
        return sorted(made, key=lambda one: self._seen.index(one.id))

    async def deployment(self, deployment_id: str) -> Deployment:
        return (await self.console.call("GetDeployment", deployment_id=deployment_id)).deployment

    async def ended(self, application_id: str, commit: str = "", within: float = 240.0) -> Deployment:
        """The application's deployment of `commit`, or its last one, once it is over."""

        async def look() -> Deployment | None:
            made = await self.deployments(application_id)
            fits = [one for one in made if not commit or one.trigger.commit.hash == commit]
            assert fits, "no deployment"
            status = WireStatus.Name(fits[-1].status)
            assert DeploymentStatus(fits[-1].status).final, f"{status}: {fits[-1].status_reason}"
            return fits[-1]

        found = await eventually(look, within)
        assert found
        return found

    async def over(self, deployment_id: str, within: float = 240.0) -> Deployment:
        """That deployment once it is over."""

        async def look() -> Deployment | None:
            found = await self.deployment(deployment_id)
            return found if DeploymentStatus(found.status).final else None

        found = await eventually(look, within)
        assert found
        return found

    async def state(self, application_id: str) -> Any:
        """How Git and the platform compare, as the console shows it."""
        answer = await self.console.call("GetApplication", application_id=application_id)
        return answer.application.sync_state

    async def log(self, deployment_id: str, stage_id: str) -> str:
        """Empty while the deployment is not planned yet."""
        try:
            answer = await self.console.call("GetStageLog", deployment_id=deployment_id, stage_id=stage_id)
        except CallFailed as error:
            assert error.code == "not_found"
            return ""
        return "\n".join(block.log for block in answer.blocks)

    async def logged(self, deployment_id: str, stage_id: str, words: str, count: int = 1) -> str:
        """The stage's log, once `words` stand in it: the end of a stage waits for its log only a little."""

        async def look() -> str:
            found = await self.log(deployment_id, stage_id)
            assert found.count(words) >= count, found
            return found

        return await eventually(look)


@dataclass
class World(Person):
    plane: ControlPlane
    git: GitServer
    key: str
    #: Ends the control plane.
    down: Callable[[], Awaitable[None]]

    def spec(self, **more: Any) -> config.PipedSpec:
        key_file = self.folder / "piped.key"
        key_file.write_text(more.pop("key", self.key))
        remotes = more.pop("remotes", {REPOSITORY: self.git.url(REPOSITORY)})
        document = agent_spec(
            more.pop("address", self.plane.address), self.piped_id, key_file, remotes, **more
        )
        return config.load(json.dumps(document), "piped.yaml")

    def options(self, home: Path | None, admin_port: int, dial_timeout: float) -> Options:
        return Options(
            transport=Transport(insecure=True),
            admin_host="127.0.0.1",
            admin_port=admin_port,
            home=home or self.folder / "agent",
            dial_timeout=dial_timeout,
        )

    @asynccontextmanager
    async def agent(self, **more: Any) -> AsyncIterator[asyncio.Task[None]]:
        """An agent, until the block ends: then it is shut down, as by SIGTERM."""
        options = self.options(
            more.pop("home", None), more.pop("admin_port", 0), more.pop("dial_timeout", 30.0)
        )
        task = asyncio.create_task(piped.run(self.spec(**more), options), name="agent")
        try:
            yield task
        finally:
            task.cancel()
            async with asyncio.timeout(120):
                await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def hint(self, repository: str = REPOSITORY) -> None:
        """What a webhook does."""
        store = self.plane.served.plane.store
        remote = self.git.url(repository)
        await store.announce("repository", project_id="shop", id=remote, piped_id=self.piped_id)

    async def push(self, message: str, files: Mapping[str, str | None]) -> str:
        made = await super().push(message, files)
        await self.hint()
        return made


@asynccontextmanager
async def world(folder: Path, *, git_port: int = 0, **more: Any) -> AsyncIterator[World]:
    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    async with AsyncExitStack() as held:
        git = held.enter_context(GitServer(folder / "git", port=git_port))
        git.create(REPOSITORY)
        clone = Clone(folder / "clone", git.url(REPOSITORY))
        await asyncio.to_thread(clone.commit_and_push, "Begin", {"README.md": "a repository\n"})
        serving = await held.enter_async_context(AsyncExitStack())
        plane = await serving.enter_async_context(control_plane(folder / "plane", **more))
        piped_id, key = await plane.register_piped()
        yield World(
            console=plane.console,
            clone=clone,
            piped_id=piped_id,
            plane=plane,
            down=serving.aclose,
            git=git,
            folder=folder,
            key=key,
        )

"""Runs a deployment's stages as the agent does, call by call, on real checkouts of a real repository.

    async with open_runner(tmp_path, {"app.pipecd.yaml": …}) as runner:
        outcome = await runner.run("WAIT", function)

Objects that stages store are in a dictionary, which outlives a `StageRunner` as the control plane outlives an
agent.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipecd.config.document import Document
from pipecd.errors import NotFound
from pipecd.git.access import Access
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.git.other_repositories import OtherRepositories
from pipecd.git.tree import Trees
from pipecd.model.application import Application, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.notification import NotificationEvent
from pipecd.model.progress import apply_outcome
from pipecd.model.provider import NamedProvider
from pipecd.model.stage import Again, Outcome, StageAction, StageFunction, Work
from pipecd.model.status import StageStatus
from pipecd.piped.deploy.checkouts import StageCheckouts
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.secrets import Redactor
from tests.repo import Clone, local_clone

NO_CREDENTIALS = Credentials()
MAX_CALLS = 20


@dataclass
class Log:
    """Each line with its severity."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    #: Called with each line, so that a test can act in the middle of a stage.
    on_line: Callable[[str], None] = lambda line: None

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def info(self, text: str) -> None:
        self._write("info", text)

    def success(self, text: str) -> None:
        self._write("success", text)

    def error(self, text: str) -> None:
        self._write("error", text)

    async def drain(self) -> None:
        return

    def _write(self, severity: str, text: str) -> None:
        self.lines.append((severity, text))
        self.on_line(text)


@dataclass
class StageRunner:
    """One deployment. `stored` and `deployment` are the parts that a control plane stores."""

    sources: Sources
    clone: Clone
    deployment: Deployment
    provider: Any = None
    analysis: Any = None
    stored: dict[str, bytes] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    actions: list[StageAction] = field(default_factory=list)
    notifications: list[NotificationEvent] = field(default_factory=list)
    now: float = field(default_factory=time.time)

    def at(self, commit: str, *, running: str = "", deployment_id: str = "d") -> "StageRunner":
        """Another deployment of the same application."""
        trigger = replace(self.deployment.trigger, commit=_commit(commit))
        deployment = replace(
            self.deployment, id=deployment_id, trigger=trigger, running_commit=running, stages=(), shared={}
        )
        return replace(self, deployment=deployment, log=Log(), actions=[], notifications=[])

    async def run(
        self,
        name: str,
        function: StageFunction,
        options: Any = None,
        *,
        stage_id: str = "",
        **fields: Any,
    ) -> Outcome:
        """Calls the stage until it ends, in virtual time. Returns its last outcome."""
        async with self.calls(name, function, options, stage_id=stage_id, **fields) as call:
            for _ in range(MAX_CALLS):
                outcome: Outcome = await call()
                if not isinstance(outcome, Again):
                    return outcome
                self.now += outcome.after
        raise AssertionError(f"{name} did not end: {outcome}")

    @asynccontextmanager
    async def calls(
        self,
        name: str,
        function: StageFunction,
        options: Any = None,
        *,
        stage_id: str = "",
        **fields: Any,
    ) -> AsyncIterator[Callable[[], Any]]:
        """One call at a time, applied to the deployment. Checkouts exist until the block ends."""
        stage_id = stage_id or name.lower()
        # An earlier block, which stands for an earlier process, may have ended within a call.
        interrupted = any(stage.id == stage_id for stage in self.deployment.stages)
        if all(stage.id != stage_id for stage in self.deployment.stages):
            index = len(self.deployment.stages)
            stage = Stage(id=stage_id, name=name, index=index, status=StageStatus.RUNNING, **fields)
            self.deployment = replace(self.deployment, stages=(*self.deployment.stages, stage))
        async with AsyncExitStack() as exit_stack:
            checkouts = StageCheckouts(self.sources, _OTHER_REPOSITORIES, self.deployment, exit_stack)

            async def call() -> Outcome:
                nonlocal interrupted
                stage = self.deployment.stage(stage_id)
                work = self._work(stage, options, checkouts, interrupted=interrupted)
                interrupted = True
                outcome = await function(work)
                interrupted = False
                self.deployment = apply_outcome(self.deployment, stage, outcome, int(self.now))
                return outcome

            yield call

    def _work(self, stage: Stage, options: Any, checkouts: StageCheckouts, *, interrupted: bool) -> Work[Any]:
        deployment = self.deployment
        return Work(
            application=application(deployment),
            deployment=deployment,
            stage=stage,
            options=options,
            provider=self.provider,
            providers=no_providers,
            log=self.log,
            now=self.now,
            token=f"{deployment.id}/{stage.id}",
            actions=tuple(self.actions),
            interrupted=interrupted,
            checkouts=checkouts,
            storage=MemoryStorage(self.stored),
            analysis=self.analysis,
            notify=self.notifications.append,
        )


@asynccontextmanager
async def open_runner(
    folder: Path,
    files: Mapping[str, str | None],
    *,
    provider: Any = None,
    path: str = "app",
    credentials: Credentials = NO_CREDENTIALS,
    remotes: Sequence[str] = (),
) -> AsyncIterator[StageRunner]:
    """A repository with `files` below `path`, and a deployment of its first commit. May be reopened.

    `credentials` and `remotes` are those of the agent's configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = not (folder / "clone").exists()
    clone = local_clone(folder)
    if first:
        clone.commit_and_push("Begin", {f"{path}/{name}": text for name, text in files.items()})
    user = User(name="piped", email="piped@example.com")
    async with Mirrors(folder / "agent", credentials, user, remotes=remotes) as mirrors:
        repository = Repository(id="r", remote=clone.remote, branch="main")
        yield StageRunner(
            sources=Sources(mirrors, {"r": repository}, Renderer(None, Redactor().add)),
            clone=clone,
            deployment=_deployment(clone.git("rev-parse", "HEAD"), path),
            provider=provider,
        )


def application(deployment: Deployment) -> Application:
    return Application(
        id=deployment.application_id,
        name=deployment.application_name,
        piped_id=deployment.piped_id,
        project_id=deployment.project_id,
        kind=deployment.kind,
        git_path=deployment.git_path,
    )


def document(**spec: Any) -> Document:
    return Document(file="piped.yaml", kind="Piped", spec=spec, lines={})


def stage_action(user: str, *, approve: bool = True, comment: str = "") -> StageAction:
    return StageAction(
        id=f"{user}-{approve}", requested_by=user, approve=approve, comment=comment, requested_at=5
    )


def no_providers(name: str = "", *, labels: Mapping[str, str] | None = None) -> Sequence[NamedProvider]:
    """For platforms that use only the application's own provider."""
    raise AssertionError(f"this platform looks up no provider ({name or labels})")


@dataclass(frozen=True)
class MemoryStorage:
    """`model.stage.Storage` in a dictionary."""

    stored: dict[str, bytes]

    async def store(self, name: str, data: bytes) -> None:
        self.stored[name] = data

    async def load(self, name: str) -> bytes:
        if name not in self.stored:
            raise NotFound(name)
        return self.stored[name]


_OTHER_REPOSITORIES = OtherRepositories(
    home=Path("/nonexistent"),
    user=User(name="piped", email="piped@example.com"),
    trees=Trees(Path("/nonexistent"), Access(credentials=Credentials()), asyncio.Semaphore()),
)


def _commit(commit: str) -> Commit:
    return Commit(hash=commit, message="change", author="Ada", branch="main", created_at=1)


def _deployment(commit: str, path: str) -> Deployment:
    return Deployment(
        id="d",
        application_id="a",
        application_name="shop",
        piped_id="p",
        project_id="j",
        kind="TERRAFORM",
        git_path=GitPath(repo_id="r", path=path, remote="https://git.example/shop"),
        trigger=Trigger(commit=_commit(commit), timestamp=1700000000, commander="ada", summary="as asked"),
        labels={"env": "demo", "not=a-name": "x"},
        summary="Sync with the pipeline",
    )

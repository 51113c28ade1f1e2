"""Plays a deployment's stages as the agent does, call after call, on real checkouts of a real repository.

    async with stage_play(tmp_path, {"app.pipecd.yaml": …}) as play:
        outcome = await play.stage("WAIT", platform)

What stages keep is kept in a dictionary, which outlives a `Play` as the control plane outlives an agent.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipecd.config.document import Document
from pipecd.errors import NotFound, Refused
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import Application, ApplicationKind, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.progress import after
from pipecd.model.stage import Again, Order, Outcome, Source, StageFunction, Work
from pipecd.model.status import StageStatus
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.rendering import Rendering
from pipecd.piped.source.repository import Repository
from pipecd.secrets import Redactor
from tests.repo import Clone

MOST_CALLS = 20


@dataclass
class Log:
    """Each line with its severity."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    #: Called with each line, so that a test can act in the middle of a stage.
    heard: Callable[[str], None] = lambda line: None

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def info(self, text: str) -> None:
        self._write("info", text)

    def success(self, text: str) -> None:
        self._write("success", text)

    def error(self, text: str) -> None:
        self._write("error", text)

    def _write(self, severity: str, text: str) -> None:
        self.lines.append((severity, text))
        self.heard(text)


@dataclass
class Play:
    """One deployment. `kept` and `deployment` are what a control plane would remember of it."""

    sources: Sources
    clone: Clone
    deployment: Deployment
    provider: Any = None
    kept: dict[str, bytes] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    orders: list[Order] = field(default_factory=list)
    told: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    now: float = field(default_factory=time.time)

    def at(self, commit: str, *, running: str = "", deployment_id: str = "d") -> "Play":
        """Another deployment of the same application."""
        trigger = replace(self.deployment.trigger, commit=_commit(commit))
        deployment = replace(
            self.deployment, id=deployment_id, trigger=trigger, running_commit=running, stages=(), shared={}
        )
        return replace(self, deployment=deployment, log=Log(), orders=[], told=[])

    async def stage(
        self, name: str, function: StageFunction, options: Any = None, *, stage_id: str = "", **facts: Any
    ) -> Outcome:
        """Call the stage until it has ended; waiting takes no time. Its last outcome."""
        async with self.calls(name, function, options, stage_id=stage_id, **facts) as call:
            for _ in range(MOST_CALLS):
                outcome = await call()
                if not isinstance(outcome, Again):
                    return outcome
                self.now += outcome.after
        raise AssertionError(f"{name} did not end: {outcome}")

    @asynccontextmanager
    async def calls(
        self, name: str, function: StageFunction, options: Any = None, *, stage_id: str = "", **facts: Any
    ) -> AsyncIterator[Callable[[], Any]]:
        """One call at a time, folded into the deployment, with checkouts that last as long as the block."""
        stage_id = stage_id or name.lower()
        if all(stage.id != stage_id for stage in self.deployment.stages):
            index = len(self.deployment.stages)
            made = Stage(id=stage_id, name=name, index=index, status=StageStatus.RUNNING, **facts)
            self.deployment = replace(self.deployment, stages=(*self.deployment.stages, made))
        async with AsyncExitStack() as held:
            checkouts: dict[str, Source] = {}

            async def checkout(commit: str) -> Source:
                if not commit:
                    raise Refused("nothing was deployed before", remedy="deploy something")
                if commit not in checkouts:
                    opening = self.sources.checkout(self.deployment.git_path, commit)
                    checkouts[commit] = await held.enter_async_context(opening)
                return checkouts[commit]

            async def call() -> Outcome:
                stage = self.deployment.stage(stage_id)
                outcome = await function(self._work(stage, options, checkout))
                self.deployment = after(self.deployment, stage, outcome, int(self.now))
                return outcome

            yield call

    async def keep(self, name: str, data: bytes) -> None:
        self.kept[name] = data

    async def read(self, name: str) -> bytes:
        if name not in self.kept:
            raise NotFound(name)
        return self.kept[name]

    def _work(self, stage: Stage, options: Any, checkout: Callable[[str], Any]) -> Work[Any]:
        deployment = self.deployment
        return Work(
            application=application(deployment),
            deployment=deployment,
            stage=stage,
            options=options,
            provider=self.provider,
            log=self.log,
            now=self.now,
            token=f"{deployment.id}/{stage.id}",
            orders=tuple(self.orders),
            target=lambda: checkout(deployment.trigger.commit.hash),
            running=lambda: checkout(deployment.running_commit),
            elsewhere=_nowhere,
            notify=lambda event, fields: self.told.append((event, fields)),
            keep=self.keep,
            kept=self.read,
        )


@asynccontextmanager
async def stage_play(
    folder: Path, files: Mapping[str, str | None], *, provider: Any = None, path: str = "app"
) -> AsyncIterator[Play]:
    """A repository with `files` below `path`, and a deployment of its first commit. May be opened again."""
    remote = folder / "remote.git"
    first = not remote.exists()
    clone = Clone.__new__(Clone)
    if first:
        remote.mkdir(parents=True)
        clone = Clone(folder / "clone", str(remote))
        clone.git("init", "--quiet", "--bare", "--initial-branch=main", str(remote), at=folder)
        clone.commit_and_push("Begin", {f"{path}/{name}": text for name, text in files.items()})
    else:
        clone.path, clone.remote, clone.branch = folder / "clone", str(remote), "main"
    user = User(name="piped", email="piped@example.com")
    async with Mirrors(folder / "agent", Credentials(), user) as mirrors:
        repository = Repository(id="r", remote=str(remote), branch="main")
        yield Play(
            sources=Sources(mirrors, {"r": repository}, Rendering(None, Redactor().add)),
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


def order(who: str, *, approve: bool = True) -> Order:
    return Order(id=f"{who}-{approve}", commander=who, approve=approve)


def notes(events: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    return [event for event, _ in events]


async def _nowhere(remote: str, ref: str) -> Path:
    raise Refused(f"{remote} at {ref} is no part of this play")


def _commit(commit: str) -> Commit:
    return Commit(hash=commit, message="change", author="Ada", branch="main", created_at=1)


def _deployment(commit: str, path: str) -> Deployment:
    return Deployment(
        id="d",
        application_id="a",
        application_name="shop",
        piped_id="p",
        project_id="j",
        kind=ApplicationKind.TERRAFORM,
        git_path=GitPath(repo_id="r", path=path, remote="https://git.example/shop"),
        trigger=Trigger(commit=_commit(commit), timestamp=1700000000, commander="ada", summary="as asked"),
        labels={"env": "demo"},
        summary="Sync with the pipeline",
    )

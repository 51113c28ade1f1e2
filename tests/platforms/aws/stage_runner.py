"""Calls the stages of a platform as the agent does, against an emulated AWS.

    runner = AwsRunner(platform, provider, running=folder, target=folder)
    outcome = await runner.run("LAMBDA_SYNC")
    outcome = await runner.run("LAMBDA_SYNC", killer=Killer(aws, seed))

Metadata returned by a call is stored before the next call, as the agent does, unless the agent is killed
during the call.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pipecd.config.application import load
from pipecd.errors import Refused, Temporary, UserError
from pipecd.model.application import Application, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.stage import Again, Done, Failed, Outcome, Source, Work
from pipecd.piped.deploy.perform import Postponed
from pipecd.platforms.stage_tables import application_types
from tests.platforms.aws.emulator import Call, Emulator
from tests.stages.stage_runner import no_providers

APPLICATION = "app-1"
#: More calls than any stage needs, so that a stage that never ends fails its test.
MAX_CALLS = 150


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    async def drain(self) -> None:
        return

    def info(self, text: str) -> None:
        self.lines.append(text)

    success = error = info


class Killer:
    """Kills the agent at random: before or after a call to AWS takes effect, or after a stage's call."""

    def __init__(self, aws: Emulator, seed: int, times: int = 6) -> None:
        self._aws, self._random, self._remaining = aws, random.Random(seed), times
        self.kills = 0

    async def __call__(self, stage: Any, work: Work[Any]) -> Outcome | None:
        """The outcome; None if the agent was killed during the call."""
        if not self._remaining or self._random.random() < 0.4:
            outcome: Outcome = await stage(work)
            return outcome
        self._remaining -= 1
        self.kills += 1
        if self._random.random() < 0.3:
            await stage(work)
            return None
        return await self._interrupted(stage, work)

    async def _interrupted(self, stage: Any, work: Work[Any]) -> Outcome | None:
        loop, ended = asyncio.get_running_loop(), threading.Event()
        countdown = self._random.randint(1, 8)
        task = asyncio.create_task(stage(work))
        task.add_done_callback(lambda _: ended.set())

        def intercept(call: Call, after: bool) -> None:
            nonlocal countdown
            countdown -= 1
            if countdown == 0:
                loop.call_soon_threadsafe(task.cancel)
                assert ended.wait(240)
                if not after:
                    raise ConnectionError("the agent was killed")

        self._aws.intercept = intercept
        try:
            await asyncio.wait([task])
        finally:
            self._aws.intercept = None
        return None if task.cancelled() else task.result()


@dataclass
class AwsRunner:
    """`target` and `running` are checkouts: folders with an `app.pipecd.yaml` inside."""

    platform: Any
    provider: Any
    target: Path
    running: Path | None = None
    #: Checkouts of other repositories, by remote and ref.
    repositories: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    saved: dict[str, dict[str, str]] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    id: str = "deployment-2"
    analysis: Any = None
    waited: float = 0.0
    #: Every call takes at least this long (seconds of the stage's time).
    seconds_per_call: float = 0.0
    #: A stage that waits is called again after at least this long (seconds of the stage's time).
    min_wait: float = 0.0

    @property
    def commits(self) -> tuple[str, str]:
        return (_commit(self.running) if self.running else "", _commit(self.target))

    async def run(
        self,
        name: str,
        *,
        killer: Killer | None = None,
        calls: int = MAX_CALLS,
        limit: int = 0,
        until: Callable[[], bool] = lambda: False,
        stage_id: str = "",
        **options: Any,
    ) -> Outcome:
        """The final outcome or, if it is cancelled after `calls` calls or once `until` holds, the last one.

        `limit`: how many calls the stage may need, if more than `MAX_CALLS`.
        """
        stage, outcome = self.platform.stages[name], None
        stage_id = stage_id or name
        interrupted = stage_id in self.saved
        for _ in range(limit or calls):
            work = self._work(name, stage_id, options, interrupted=interrupted)
            outcome = await self._call(stage, work, killer)
            interrupted = outcome is None or isinstance(outcome, Postponed)
            if outcome is None:
                continue
            self.saved.setdefault(stage_id, {}).update(outcome.saved)
            if not isinstance(outcome, Failed):
                self.shared.update(outcome.shared)
            if not isinstance(outcome, Again):
                return outcome
            after = max(outcome.after, self.min_wait) if outcome.after else 0.0
            self.waited += max(after, self.seconds_per_call)
            if until():
                return outcome
        assert calls < MAX_CALLS and not limit, f"{name} did not end: {outcome}"
        assert outcome is not None
        return outcome

    async def stop(self, name: str, *, stage_id: str = "", **options: Any) -> None:
        """As the agent does when the stage is cancelled or times out."""
        await self.platform.stop[name](self._work(name, stage_id or name, options, interrupted=True))

    async def _call(self, stage: Any, work: Work[Any], killer: Killer | None) -> Outcome | None:
        try:
            return await killer(stage, work) if killer else await stage(work)
        except Temporary as error:
            self.log.error(str(error))
            return Postponed(after=1.0)
        except UserError as error:
            return Failed(reason=str(error))

    def _work(self, name: str, stage_id: str, options: Mapping[str, Any], *, interrupted: bool) -> Work[Any]:
        running_commit, commit = self.commits
        options_type = self.platform.options.get(name)
        stage = Stage(id=stage_id, name=name, index=0, metadata=dict(self.saved.get(stage_id, {})))
        deployment = Deployment(
            id=self.id,
            application_id=APPLICATION,
            application_name="shop",
            piped_id="piped-1",
            project_id="shop",
            kind="LAMBDA",
            git_path=GitPath(repo_id="shop", path="."),
            trigger=Trigger(
                commit=Commit(hash=commit, message="", author="", branch="main", created_at=1), timestamp=1
            ),
            running_commit=running_commit,
            stages=(stage,),
            shared=dict(self.shared),
        )
        return Work(
            application=Application(
                id=APPLICATION,
                name="shop",
                piped_id="piped-1",
                project_id="shop",
                kind="LAMBDA",
                git_path=deployment.git_path,
            ),
            deployment=deployment,
            stage=stage,
            options=options_type.model_validate(options) if options_type else None,
            provider=self.provider,
            providers=no_providers,
            log=self.log,
            now=1_700_000_000 + self.waited,
            token=f"{self.id}/{stage_id}",
            actions=(),
            interrupted=interrupted,
            checkouts=_Checkouts(self),
            storage=_NoStorage(),
            analysis=self.analysis,
            notify=lambda *_: None,
        )

    def next_deployment(self, target: Path) -> Self:
        """The deployment that follows this one."""
        return replace(
            self,
            running=self.target,
            target=target,
            shared={},
            saved={},
            log=Log(),
            id=f"deployment-{int(self.id.split('-')[1]) + 1}",
        )


def _commit(folder: Path) -> str:
    return f"commit-{folder.name}"


@dataclass(frozen=True)
class _Checkouts:
    runner: AwsRunner

    async def target(self) -> Source:
        return replace(load_source(self.runner.platform, self.runner.target), provider=self.runner.provider)

    async def running(self) -> Source:
        if self.runner.running is None:
            raise Refused("nothing was deployed before")
        return replace(load_source(self.runner.platform, self.runner.running), provider=self.runner.provider)

    async def repository(self, remote: str, ref: str, path: str = "") -> Path:
        return self.runner.repositories[remote, ref]


class _NoStorage:
    """These platforms store no objects."""

    async def store(self, name: str, data: bytes) -> None:
        raise AssertionError(name)

    async def load(self, name: str) -> bytes:
        raise AssertionError(name)


def load_source(platform: Any, folder: Path) -> Source:
    text = (folder / "app.pipecd.yaml").read_text()
    config = load(text, "app.pipecd.yaml", lambda _: application_types(platform))
    return Source(commit=_commit(folder), root=folder, directory=folder, config=config)


def assert_succeeded(outcome: Outcome) -> Done:
    assert isinstance(outcome, Done), outcome
    return outcome


def failure_text(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return f"{outcome.reason}; {outcome.remedy}"

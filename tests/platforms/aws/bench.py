"""A deployment on the bench: stages of a platform are called as the agent calls them.

    bench = Bench(platform, provider, running=folder, target=folder)
    outcome = await bench.run("LAMBDA_SYNC")
    outcome = await bench.run("LAMBDA_SYNC", killed=Killer(aws, seed))

What a call asks to be remembered is stored before the next call, as the agent stores it; where the
agent is killed, it is not.
"""

import asyncio
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipecd.config.application import load
from pipecd.errors import Refused, Temporary, UserError
from pipecd.model.application import Application, ApplicationKind, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.stage import Again, Done, Failed, Outcome, Source, Work
from tests.platforms.aws.emulator import Call, Emulator

APPLICATION = "app-1"
#: More calls than any stage needs: a stage that never ends fails its test.
MOST_CALLS = 150


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    success = error = info


class Killer:
    """Kills the agent now and then: before or after a call to AWS takes effect, or after a stage's call."""

    def __init__(self, aws: Emulator, seed: int, times: int = 6) -> None:
        self._aws, self._chance, self.left = aws, random.Random(seed), times
        self.kills = 0

    async def __call__(self, stage: Any, work: Work[Any]) -> Outcome | None:
        """The outcome; None when the agent was killed in the middle of it."""
        if not self.left or self._chance.random() < 0.4:
            return await stage(work)
        self.left -= 1
        self.kills += 1
        if self._chance.random() < 0.3:
            await stage(work)
            return None
        return await self._interrupted(stage, work)

    async def _interrupted(self, stage: Any, work: Work[Any]) -> Outcome | None:
        loop, gone = asyncio.get_running_loop(), threading.Event()
        countdown = self._chance.randint(1, 8)
        task = asyncio.create_task(stage(work))
        task.add_done_callback(lambda _: gone.set())

        def trap(call: Call, after: bool) -> None:
            nonlocal countdown
            countdown -= 1
            if countdown == 0:
                loop.call_soon_threadsafe(task.cancel)
                assert gone.wait(240)
                if not after:
                    raise ConnectionError("the agent is gone")

        self._aws.trap = trap
        try:
            await asyncio.wait([task])
        finally:
            self._aws.trap = None
        return None if task.cancelled() else task.result()


@dataclass
class Bench:
    """`target` and `running` are checkouts: folders with an `app.pipecd.yaml` inside."""

    platform: Any
    provider: Any
    target: Path
    running: Path | None = None
    #: What other repositories hold, by remote and ref.
    elsewhere: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    saved: dict[str, dict[str, str]] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    id: str = "deployment-2"
    waited: float = 0.0

    @property
    def commits(self) -> tuple[str, str]:
        return (_commit(self.running) if self.running else "", _commit(self.target))

    async def run(
        self,
        name: str,
        *,
        killed: Killer | None = None,
        calls: int = MOST_CALLS,
        stage_id: str = "",
        **options: Any,
    ) -> Outcome:
        """The end of the stage; or, cancelled after `calls` calls, what the last of them said."""
        stage, outcome = self.platform.stages[name], None
        stage_id = stage_id or name
        for _ in range(calls):
            work = self._work(name, stage_id, options)
            outcome = await self._called(stage, work, killed)
            if outcome is None:
                continue
            self.saved.setdefault(stage_id, {}).update(outcome.saved)
            if not isinstance(outcome, Failed):
                self.shared.update(outcome.shared)
            if not isinstance(outcome, Again):
                return outcome
            self.waited += outcome.after
        assert calls < MOST_CALLS, f"{name} does not end: {outcome}"
        assert outcome is not None
        return outcome

    async def _called(self, stage: Any, work: Work[Any], killed: Killer | None) -> Outcome | None:
        try:
            return await killed(stage, work) if killed else await stage(work)
        except Temporary as error:
            self.log.error(str(error))
            return Again(after=1.0)
        except UserError as error:
            return Failed(reason=str(error))

    def _work(self, name: str, stage_id: str, options: Mapping[str, Any]) -> Work[Any]:
        before, commit = self.commits
        made = self.platform.options.get(name)
        stage = Stage(id=stage_id, name=name, index=0, metadata=dict(self.saved.get(stage_id, {})))
        deployment = Deployment(
            id=self.id,
            application_id=APPLICATION,
            application_name="shop",
            piped_id="piped-1",
            project_id="shop",
            kind=ApplicationKind.LAMBDA,
            git_path=GitPath(repo_id="shop", path="."),
            trigger=Trigger(
                commit=Commit(hash=commit, message="", author="", branch="main", created_at=1), timestamp=1
            ),
            running_commit=before,
            stages=(stage,),
            shared=dict(self.shared),
        )
        return Work(
            application=Application(
                id=APPLICATION,
                name="shop",
                piped_id="piped-1",
                project_id="shop",
                kind=ApplicationKind.LAMBDA,
                git_path=deployment.git_path,
            ),
            deployment=deployment,
            stage=stage,
            options=made.model_validate(options) if made else None,
            provider=self.provider,
            log=self.log,
            now=1_700_000_000 + self.waited,
            token=f"{self.id}/{stage_id}",
            orders=(),
            target=self._target,
            running=self._running,
            elsewhere=self._elsewhere,
            notify=lambda *_: None,
            keep=_nothing_kept,
            kept=_nothing_kept,
        )

    async def _target(self) -> Source:
        return source(self.platform, self.target)

    async def _running(self) -> Source:
        if self.running is None:
            raise Refused("nothing was deployed before")
        return source(self.platform, self.running)

    async def _elsewhere(self, remote: str, ref: str) -> Path:
        return self.elsewhere[remote, ref]

    def next(self, target: Path) -> "Bench":
        """The deployment after this one."""
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


async def _nothing_kept(*_: Any) -> Any:
    raise AssertionError("this platform keeps nothing")


def source(platform: Any, folder: Path) -> Source:
    text = (folder / "app.pipecd.yaml").read_text()
    config = load(text, "app.pipecd.yaml", lambda _: platform)
    return Source(commit=_commit(folder), root=folder, directory=folder, config=config)


def succeeded(outcome: Outcome) -> Done:
    assert isinstance(outcome, Done), outcome
    return outcome


def failed(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return f"{outcome.reason}; {outcome.remedy}"

"""Calling one stage: timeouts, errors as outcomes, and what a stage learns about its attempt."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import piped as config
from pipecd.errors import Temporary
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.git.other_repositories import OtherRepositories
from pipecd.model.application import Application, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, Trigger
from pipecd.model.plan import pipeline_stages
from pipecd.model.progress import STAGE_STARTED_AT, STAGE_TIMEOUT
from pipecd.model.stage import Again, Done, Failed, Outcome, StageFunction, Work
from pipecd.model.status import StageStatus
from pipecd.piped.deploy.call_slots import CallSlots
from pipecd.piped.deploy.checkouts import StageCheckouts
from pipecd.piped.deploy.perform import Postponed, StageRun, StageServices
from pipecd.piped.deploy.sealed_objects import EncryptedObjects
from pipecd.piped.deploy.stage_logs import StageLogs
from pipecd.piped.providers import Providers
from pipecd.piped.settings import StageLogSettings, StageSettings
from pipecd.piped.source.checkout import Sources, decode_config
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.platforms import Platform
from pipecd.platforms.registry import load_platform
from pipecd.retry import Retry
from pipecd.secrets import Redactor
from tests.piped.recorder import Recorder
from tests.ports import free_ports
from tests.repo import Clone, local_clone
from tests.world import agent_spec, pipeline

SETTINGS = StageSettings()
NO_STAGES: Mapping[str, StageFunction] = {}


@dataclass
class Agent:
    """The stage services of one agent process, and a deployment of a real repository."""

    services: StageServices
    deployment: Deployment

    async def call(self, stage: Stage, deployment: Deployment | None = None) -> Outcome:
        """Opens the stage and calls it once."""
        deployment = replace(deployment or self.deployment, stages=(stage,))
        async with self.open(deployment, stage) as run:
            return await run(deployment, ())

    def open(
        self, deployment: Deployment, stage: Stage, *, interrupted: bool = False
    ) -> AbstractAsyncContextManager[StageRun]:
        app = application(deployment)
        return self.services.open_stage(app, deployment, stage, interrupted=interrupted)


def application(deployment: Deployment) -> Application:
    return Application(
        id=deployment.application_id,
        name=deployment.application_name,
        piped_id=deployment.piped_id,
        project_id=deployment.project_id,
        kind=deployment.kind,
        git_path=deployment.git_path,
    )


@asynccontextmanager
async def agent(
    folder: Path,
    recorder: Recorder,
    *,
    remote: str,
    commit: str,
    settings: StageSettings = SETTINGS,
    stages: Mapping[str, StageFunction] = NO_STAGES,
) -> AsyncIterator[Agent]:
    """`stages` are added to those of the platform."""

    def extended_platform(kind: str) -> Platform[Any]:
        platform = load_platform(kind)
        return replace(platform, stages={**platform.stages, **stages})

    user = User(name="piped", email="piped@example.com")
    spec = config.load(json.dumps(agent_spec("x", "p", folder, {"shop": remote})), "piped.yaml")
    client = recorder.client()
    async with Mirrors(folder / "agent", Credentials(), user) as mirrors:
        services = StageServices(
            sources=Sources(
                mirrors,
                {"shop": Repository(id="shop", remote=remote, branch="main")},
                Renderer(None, Redactor().add),
            ),
            other_repositories=OtherRepositories(home=folder / "worktrees", user=user, trees=mirrors.trees),
            logs=StageLogs(client, Redactor(), SYSTEM_CLOCK, StageLogSettings()),
            providers=Providers(spec),
            encrypted_objects=EncryptedObjects(client, "key", folder / "objects"),
            analysis=cast(Any, None),
            call_slots=CallSlots(64),
            clock=SYSTEM_CLOCK,
            settings=settings,
            notify=lambda event: None,
            load_platform=extended_platform,
        )
        deployment = Deployment(
            id="d",
            application_id="a",
            application_name="shop",
            piped_id="p",
            project_id="j",
            kind="TERRAFORM",
            git_path=GitPath(repo_id="shop", path="shop"),
            trigger=Trigger(
                commit=Commit(hash=commit, message="m", author="Ada", branch="main", created_at=1),
                timestamp=1,
            ),
        )
        yield Agent(services=services, deployment=deployment)
    await client.close()


def planned_stage(file: str) -> Stage:
    """The first stage of the file's pipeline as the planner creates it, running since just now."""
    spec = decode_config(file.encode(), "shop/app.pipecd.yaml").spec
    stage, *_ = pipeline_stages(spec.pipeline.stages, rolls_back=False, auto_rollback=False)
    return started(stage, time.time())


def started(stage: Stage, at: float) -> Stage:
    return replace(stage, status=StageStatus.RUNNING, metadata={**stage.metadata, STAGE_STARTED_AT: str(at)})


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return local_clone(tmp_path)


async def test_a_remote_that_never_answers_counts_towards_the_stage_s_timeout(
    tmp_path: Path, recorder: Recorder
) -> None:
    stage = planned_stage(pipeline({"name": "SCRIPT_RUN", "timeout": "1s", "with": {"run": "true"}}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        remote = f"http://127.0.0.1:{listener.getsockname()[1]}/shop"
        async with agent(tmp_path, recorder, remote=remote, commit="c" * 40) as process, asyncio.timeout(30):
            outcome = await process.call(started(stage, time.time() - 0.8))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the stage timed out after 1s"


async def test_a_stage_that_only_waits_ends_at_its_timeout(
    tmp_path: Path, recorder: Recorder, clone: Clone
) -> None:
    file = pipeline({"name": "WAIT", "timeout": "1m", "with": {"duration": "1h"}})
    commit = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": file})
    stage = planned_stage(file)
    async with agent(tmp_path, recorder, remote=clone.remote, commit=commit) as process:
        outcome = await process.call(started(stage, time.time() - 61))
        assert isinstance(outcome, Failed)
        assert outcome.reason == "the stage timed out after 1m"
        waiting = replace(stage, metadata={**stage.metadata, "startTime": str(int(time.time()))})
        outcome = await process.call(started(waiting, time.time() - 58))
        assert isinstance(outcome, Again)
        assert outcome.after <= 2.0


async def test_a_timeout_that_was_not_stored_with_the_plan_is_read_from_the_file(
    tmp_path: Path, recorder: Recorder, clone: Clone
) -> None:
    """Another version of the agent, or PipeCD's, planned the deployment."""
    file = pipeline({"name": "WAIT", "timeout": "1m", "with": {"duration": "1h"}})
    commit = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": file})
    stage = replace(planned_stage(file), metadata={})
    async with agent(tmp_path, recorder, remote=clone.remote, commit=commit) as process:
        outcome = await process.call(started(stage, time.time() - 61))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the stage timed out after 1m"


async def test_a_retry_is_not_later_than_the_stage_s_timeout(tmp_path: Path, recorder: Recorder) -> None:
    settings = StageSettings(retry=_ConstantRetry())
    stage = planned_stage(pipeline({"name": "SCRIPT_RUN", "timeout": "1m", "with": {"run": "true"}}))
    remote = f"http://127.0.0.1:{free_ports(1)[0]}/shop"
    async with agent(tmp_path, recorder, remote=remote, commit="c" * 40, settings=settings) as process:
        outcome = await process.call(started(stage, time.time() - 30))
    assert isinstance(outcome, Postponed), outcome
    assert 20 < outcome.after <= 30


class _ConstantRetry(Retry):
    def delays(self, rng: Any = None) -> Any:
        while True:
            yield 3600.0


async def test_the_log_of_a_stage_names_its_keys_without_effect(
    tmp_path: Path, recorder: Recorder, clone: Clone
) -> None:
    file = pipeline({"name": "WAIT", "with": {"duraton": "1h", "duration": "1s"}})
    commit = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": file})
    async with agent(tmp_path, recorder, remote=clone.remote, commit=commit) as process:
        await process.call(planned_stage(file))
        await process.services.logs.flush()
    assert any(
        "spec.pipeline.stages[0].with.duraton has no effect: unknown key; did you mean duration?" in line
        for line in recorder.lines()
    )


STORED: Mapping[str, Mapping[str, str]] = {
    "a timeout of its own": {"timeout": "90s"},
    "none": {},
}


@pytest.mark.parametrize("settings", STORED.values(), ids=STORED.keys())
def test_the_plan_stores_the_timeout_that_a_stage_configures(settings: Mapping[str, str]) -> None:
    stage = planned_stage(pipeline({"name": "WAIT", "with": {"duration": "1m"}, **settings}))
    assert stage.metadata.get(STAGE_TIMEOUT) == ("90" if settings else None)


@dataclass
class Probe:
    """A stage that records `interrupted` of each call, and raises or returns what it is given."""

    results: list[Outcome | Exception]
    interrupted: list[bool] = field(default_factory=list)

    async def __call__(self, work: Work[Any]) -> Outcome:
        self.interrupted.append(work.interrupted)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


INTERRUPTED: dict[str, tuple[bool, list[Outcome | Exception], list[bool]]] = {
    "a stage that this process started": (False, [Again(), Again(), Done()], [False, False, False]),
    "a stage that another process started": (True, [Again(), Again(), Done()], [True, False, False]),
    "after a temporary error": (
        False,
        [Again(), Temporary("away"), Again(), Done()],
        [False, False, True, False],
    ),
    "a temporary error does not complete an interrupted call": (
        True,
        [Temporary("away"), Temporary("away"), Done()],
        [True, True, True],
    ),
}


@pytest.mark.parametrize("case", INTERRUPTED.values(), ids=INTERRUPTED.keys())
async def test_a_stage_is_told_whether_an_earlier_call_may_have_been_cut_short(
    tmp_path: Path,
    recorder: Recorder,
    case: tuple[bool, list[Outcome | Exception], list[bool]],
) -> None:
    interrupted, results, expected = case
    probe = Probe(list(results))
    stage = started(Stage(id="s", name="PROBE", index=0, predefined=True), time.time())
    stages = {"PROBE": probe}
    async with agent(tmp_path, recorder, remote="unused", commit="c" * 40, stages=stages) as process:
        deployment = replace(process.deployment, stages=(stage,))
        async with process.open(deployment, stage, interrupted=interrupted) as run:
            for _ in results:
                await run(deployment, ())
    assert probe.interrupted == expected


async def test_checkouts_of_one_commit_with_different_files_differ(
    tmp_path: Path, recorder: Recorder, clone: Clone
) -> None:
    """The running commit may have been deployed from a configuration file with another name."""
    files = {"app.pipecd.yaml": pipeline("true", name="new"), "old.yaml": pipeline("true", name="old")}
    commit = clone.commit_and_push("Add", {f"shop/{name}": text for name, text in files.items()})
    async with (
        agent(tmp_path, recorder, remote=clone.remote, commit=commit) as process,
        AsyncExitStack() as stack,
    ):
        deployment = replace(process.deployment, running_commit=commit, running_config_filename="old.yaml")
        services = process.services
        checkouts = StageCheckouts(services.sources, services.other_repositories, deployment, stack)
        target, running = await checkouts.target(), await checkouts.running()
        assert (target.config.spec.name, running.config.spec.name) == ("new", "old")
        assert await checkouts.target() is target


async def test_stages_that_only_read_share_a_checkout(
    tmp_path: Path, recorder: Recorder, clone: Clone
) -> None:
    """Each checkout of a large repository takes seconds. Scripts get one of their own, and may change it."""
    commit = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": pipeline("true")})
    async with (
        agent(tmp_path, recorder, remote=clone.remote, commit=commit) as process,
        AsyncExitStack() as stack,
    ):
        services, deployment = process.services, process.deployment

        async def root(reader: Platform[Any] | None) -> Path:
            checkouts = StageCheckouts(
                services.sources, services.other_repositories, deployment, stack, reader=reader
            )
            return (await checkouts.target()).root

        reader = load_platform("TERRAFORM")
        assert await root(reader) == await root(reader)
        assert len({await root(None), await root(None), await root(reader)}) == 3


@pytest.mark.parametrize(
    ("kind", "stage", "shared"),
    [
        ("KUBERNETES", "K8S_SYNC", True),
        ("KUBERNETES", "ROLLBACK", True),
        ("KUBERNETES", "ANALYSIS", True),
        ("KUBERNETES", "SCRIPT_RUN", False),
        ("ECS", "ECS_SYNC", True),
        ("TERRAFORM", "TERRAFORM_APPLY", False),
        ("TERRAFORM", "ANALYSIS", True),
    ],
)
async def test_scripts_and_terraform_change_files(
    tmp_path: Path, recorder: Recorder, clone: Clone, kind: str, stage: str, shared: bool
) -> None:
    async with agent(tmp_path, recorder, remote=clone.remote, commit="c" * 40) as process:
        assert (process.services._reader(kind, stage) is not None) is shared

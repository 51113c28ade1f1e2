"""Checks, restarts and health limits of the launcher in virtual time. Agents are tiny real processes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipecd.admin_port import serve
from pipecd.errors import ConfigError, PipecdError, Temporary
from pipecd.launcher.agent import reserve_port, run_agent
from pipecd.launcher.desired import Target
from pipecd.launcher.fallback import AgentRun
from pipecd.launcher.health import AdminHandler
from pipecd.launcher.known_good import KnownGoodVersions
from pipecd.launcher.options import Options, Timeouts
from pipecd.launcher.supervisor import Supervisor
from tests.eventually import eventually
from tests.virtual_clock import VirtualClock

FIRST, SECOND = (Target(version=version, config="{}") for version in ("v1.0", "v2.0"))
FAILS = ("/bin/sh", "-c", "exit 1")
RUNS = ("/bin/sh", "-c", "exec sleep 600")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@dataclass
class Targets:
    """The desired target, or the error of fetching it."""

    clock: VirtualClock
    desired: Target | PipecdError = FIRST
    fetched_at: list[float] = field(default_factory=list)
    control_plane_answered: bool = True

    async def fetch(self) -> Target:
        self.fetched_at.append(self.clock.monotonic())
        if isinstance(self.desired, PipecdError):
            raise self.desired
        return self.desired


@dataclass
class InstalledVersions:
    """The commands of the versions; others are unavailable."""

    commands: dict[str, Sequence[str]]
    requested: list[str] = field(default_factory=list)

    async def command(self, version: str) -> Sequence[str]:
        self.requested.append(version)
        if version not in self.commands:
            raise Temporary(f"{version} cannot be downloaded")
        return self.commands[version]

    def is_installed(self, version: str) -> bool:
        return version in self.commands

    def remove_old(self, known_good: Sequence[str], *, upcoming: str) -> None:
        pass


@dataclass
class Launcher:
    clock: VirtualClock
    targets: Targets
    versions: InstalledVersions
    admin: AdminHandler
    supervisor: Supervisor

    @asynccontextmanager
    async def running(self, *loops: Any) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def wait_for_activity(self, start: str) -> str:
        async def activity() -> str:
            assert self.admin.activity.startswith(start), self.admin.activity
            return self.admin.activity

        return await eventually(activity)


def launcher(folder: Path, clock: VirtualClock, commands: dict[str, Sequence[str]]) -> Launcher:
    targets, versions = Targets(clock), InstalledVersions(commands)
    admin = AdminHandler(unresponsive_timeout=180.0, clock=clock)
    options = Options(home=folder, clock=clock, grace_period=60.0)
    fake_targets: Any = targets
    fake_versions: Any = versions
    supervisor = Supervisor(options, fake_targets, fake_versions, KnownGoodVersions(folder), admin)
    return Launcher(clock, targets, versions, admin, supervisor)


async def test_the_desired_target_is_checked_every_minute_and_on_request(
    tmp_path: Path, clock: VirtualClock
) -> None:
    program = launcher(tmp_path, clock, {"v1.0": RUNS})
    async with program.running(program.supervisor.check_targets()):
        await clock.advance(3600)
        assert program.targets.fetched_at == [60.0 * (number + 1) for number in range(60)]
        await clock.advance(10)
        program.supervisor.check_now.set()
        await clock.advance(1)
        assert program.targets.fetched_at[-1] == 3610


async def test_failing_checks_go_on_at_their_interval(tmp_path: Path, clock: VirtualClock) -> None:
    program = launcher(tmp_path, clock, {"v1.0": RUNS})
    program.targets.desired = ConfigError("kind: is missing")
    async with program.running(program.supervisor.check_targets()):
        await clock.advance(24 * 3600)
    assert len(program.targets.fetched_at) == 24 * 60


async def test_a_version_that_cannot_be_downloaded_is_tried_again_at_the_next_check(
    tmp_path: Path, clock: VirtualClock
) -> None:
    """A temporary error rejects the version for less than a check's interval, any other one for longer."""
    (tmp_path / "good.json").write_text('["v1.0"]')
    program = launcher(tmp_path, clock, {"v1.0": RUNS})
    await program.supervisor.prepare_first(FIRST)
    program.targets.desired = SECOND
    async with program.running(program.supervisor.check_targets()):
        await clock.advance(301)
    assert program.versions.requested.count("v2.0") == 5


async def test_restarts_of_a_failing_agent_are_delayed_more_and_more(
    tmp_path: Path, clock: VirtualClock
) -> None:
    program = launcher(tmp_path, clock, {"v1.0": FAILS})
    # The target is not rejected: without the control plane, the failure may not be the target's.
    program.targets.control_plane_answered = False
    await program.supervisor.prepare_first(FIRST)
    async with program.running(program.supervisor.run_agents()):
        for delay in (1, 2, 4, 8, 16, 32, 60, 60):
            assert await program.wait_for_activity("waiting ") == f"waiting {delay} s after v1.0 ended"
            await clock.advance(delay - 0.5)
            assert program.admin.activity.startswith("waiting ")
            program.admin.activity = "started"
            await clock.advance(0.5)


async def test_a_new_target_does_not_wait_for_the_delay_of_the_failing_one(
    tmp_path: Path, clock: VirtualClock
) -> None:
    program = launcher(tmp_path, clock, {"v1.0": FAILS, "v2.0": RUNS})
    await program.supervisor.prepare_first(FIRST)
    async with program.running(program.supervisor.run_agents(), program.supervisor.check_targets()):
        await program.wait_for_activity("waiting 1 s")
        program.targets.desired = SECOND
        program.supervisor.check_now.set()
        await program.wait_for_activity("starting v2.0")
    assert clock.monotonic() == 0


async def agent_run(clock: VirtualClock, port: int, folder: Path, stable: list[float]) -> AgentRun:
    async def on_stable() -> None:
        stable.append(clock.monotonic())

    return await run_agent(
        RUNS,
        folder / "piped.yaml",
        port,
        forwarded=(),
        grace=60.0,
        timeouts=Timeouts(startup=10.0),
        clock=clock,
        on_stable=on_stable,
    )


async def test_an_agent_that_never_becomes_healthy_is_stopped(tmp_path: Path, clock: VirtualClock) -> None:
    stable: list[float] = []
    with reserve_port() as port:
        run = asyncio.create_task(agent_run(clock, port, tmp_path, stable))
        while clock.monotonic() < 10:
            # Between two health checks, which are real requests.
            await clock.until_sleeping(2)
            assert not run.done()
            await clock.advance(Timeouts().probe_interval)
        assert await run == AgentRun(exit_code=None)
    assert not stable


async def test_an_agent_is_stable_after_half_a_minute(tmp_path: Path, clock: VirtualClock) -> None:
    async def healthy(path: str) -> tuple[int, str, bytes]:
        return 200, "text/plain", b"ok"

    stable: list[float] = []
    async with serve(healthy, "127.0.0.1", 0) as port:
        run = asyncio.create_task(agent_run(clock, port, tmp_path, stable))
        await clock.until_sleeping(1)

        async def monitored() -> bool:
            """The first check succeeded; now only the wait for stability is left."""
            return clock.sleeping == 1

        await eventually(monitored)
        await clock.advance(29)
        assert not stable
        await clock.advance(2)

        async def became_stable() -> bool:
            return bool(stable)

        await eventually(became_stable)
        run.cancel()
        await asyncio.wait([run])


async def test_health_without_an_agent_depends_on_what_the_launcher_does(clock: VirtualClock) -> None:
    admin = AdminHandler(unresponsive_timeout=180.0, clock=clock)

    async def healthy() -> bool:
        code, _, _ = await admin("/healthz")
        return code == 200

    assert not await healthy(), "nothing runs and nothing is planned"
    admin.extend_downtime(900)
    await clock.advance(899)
    assert await healthy(), "a version is being installed"
    admin.limit_downtime(120)
    await clock.advance(119)
    assert await healthy(), "the agent starts"
    await clock.advance(1)
    assert not await healthy()


async def test_an_agent_that_stops_answering_is_unhealthy_after_a_while(clock: VirtualClock) -> None:
    async def answer(path: str) -> tuple[int, str, bytes]:
        return 200, "text/plain", b"ok"

    admin = AdminHandler(unresponsive_timeout=180.0, clock=clock)
    async with serve(answer, "127.0.0.1", 0) as port:
        admin.agent_port = port
        assert (await admin("/healthz"))[0] == 200
    await clock.advance(179)
    assert (await admin("/healthz"))[0] == 200
    await clock.advance(1)
    assert (await admin("/healthz"))[0] == 503

"""A program of the quickstart that is killed is started again; one that fails is reported with its output."""

import asyncio
from pathlib import Path

import pytest

from pipecd.errors import ConfigError
from pipecd.quickstart.programs import MAX_RESTARTS, WINDOW, Program, run_program
from tests.eventually import eventually
from tests.skippable_clock import SkippableClock
from tests.virtual_clock import VirtualClock


def program(folder: Path, script: str, *, keeps_state: bool = True) -> Program:
    return Program(
        name="agent", command=["sh", "-c", script], log=folder / "agent.log", keeps_state=keeps_state
    )


async def error_of(program: Program) -> tuple[str, list[str]]:
    printed: list[str] = []
    with pytest.raises(ConfigError) as caught:
        async with asyncio.timeout(60):
            await run_program(program, printed.append, VirtualClock())
    return str(caught.value), printed


async def test_a_killed_program_is_started_again_a_few_times(tmp_path: Path) -> None:
    error, printed = await error_of(program(tmp_path, "echo started; kill -9 $$"))
    assert printed == ["The agent was killed (signal 9); starting it again"] * MAX_RESTARTS
    assert f"the agent was killed (signal 9) {MAX_RESTARTS + 1} times within {WINDOW:.0f} s" in error
    assert "lack of memory" in error and str(tmp_path / "agent.log") in error
    assert "quickstart-clean" not in error, "the state directory is not the cause"
    assert (tmp_path / "agent.log").read_text() == "started\n" * (MAX_RESTARTS + 1)


async def test_a_program_that_is_stopped_now_and_then_is_always_started_again(tmp_path: Path) -> None:
    """The console can restart an agent, which ends with code 0 then."""
    clock, printed = SkippableClock(), list[str]()

    def print_line(line: str) -> None:
        printed.append(line)
        clock.skip(WINDOW / MAX_RESTARTS)

    counter = tmp_path / "runs"
    script = f"echo >> {counter}; test $(wc -l < {counter}) -lt 10 || exec sleep 1000"
    running = asyncio.create_task(run_program(program(tmp_path, script), print_line, clock))

    async def runs() -> bool:
        return counter.exists() and counter.read_text().count("\n") == 10

    await eventually(runs, 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert printed == ["The agent was stopped; starting it again"] * 9


async def test_a_program_that_fails_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    error, printed = await error_of(program(tmp_path, "seq 1 9; exit 3"))
    assert error.startswith("the agent exited with code 3:\n  5\n  6\n  7\n  8\n  9; see ")
    assert printed == []


async def test_a_killed_program_without_its_state_is_named(tmp_path: Path) -> None:
    error, printed = await error_of(program(tmp_path, "kill -9 $$", keeps_state=False))
    assert error.startswith(
        "the agent was killed (signal 9), and its state was in memory; start the quickstart"
    )
    assert printed == []

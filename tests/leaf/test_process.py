"""Programs end with their purpose: with the task, with the time, and with this very process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipecd import process
from pipecd.errors import ConfigError


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int, bound: float = 5.0) -> bool:
    end = time.monotonic() + bound
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


async def test_output_comes_line_by_line_and_the_last_line_needs_no_end() -> None:
    lines: list[str] = []
    script = r"echo one; echo two >&2; printf 'caf\351'; exit 3"
    done = await process.run(["sh", "-c", script], on_line=lines.append)
    assert done == process.Finished(code=3)
    assert lines == ["one", "two", "caf�"]


async def test_a_very_long_line_comes_in_pieces() -> None:
    lines: list[str] = []
    await process.run([sys.executable, "-c", "print('x' * 1_000_000)"], on_line=lines.append)
    assert sum(map(len, lines)) == 1_000_000
    assert max(map(len, lines)) <= 2 * process.LONGEST_LINE


async def test_a_time_out_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; sleep 100"
    done = await process.run(["sh", "-c", script], on_line=print, timeout=0.5, grace=1)
    assert done.timed_out
    assert wait_until_gone(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_task_lets_the_program_clean_up_first(tmp_path: Path) -> None:
    started = asyncio.Event()
    script = f"trap 'echo bye > {tmp_path}/bye; exit 0' INT; echo up; while :; do sleep 0.05; done"
    running = asyncio.create_task(
        process.run(
            ["sh", "-c", script],
            on_line=lambda line: started.set(),
            stop_signal=signal.SIGINT,
        )
    )
    await asyncio.wait_for(started.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (tmp_path / "bye").read_text() == "bye\n"


async def test_what_ignores_the_signal_is_killed() -> None:
    started = asyncio.Event()
    script = "trap '' TERM INT; echo $$; while :; do sleep 0.05; done"
    pids: list[str] = []
    running = asyncio.create_task(
        process.run(["sh", "-c", script], on_line=lambda line: (pids.append(line), started.set()), grace=0.2)
    )
    await asyncio.wait_for(started.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert wait_until_gone(int(pids[0]))


async def test_children_left_behind_are_killed(tmp_path: Path) -> None:
    script = f"(sleep 100 >/dev/null 2>&1 & echo $! > {tmp_path}/pid)"
    await process.run(["sh", "-c", script], on_line=print)
    assert wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_kill_of_this_process_leaves_no_grandchild(tmp_path: Path) -> None:
    program = (
        "import asyncio; from pipecd import process; "
        f"asyncio.run(process.run(['sh','-c','sleep 100 & echo $! > {tmp_path}/pid; wait'], on_line=print))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.01)
    grandchild = int((tmp_path / "pid").read_text())
    assert alive(grandchild)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_until_gone(grandchild)


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ConfigError, match="nothing-of-this-name is not installed; install it"):
        await process.run(["nothing-of-this-name"], on_line=print)


async def test_capture_keeps_output_and_errors_apart() -> None:
    done = await process.capture(["sh", "-c", "cat; echo err >&2; exit 2"], stdin=b"in")
    assert done == process.Captured(code=2, stdout=b"in", stderr=b"err\n")

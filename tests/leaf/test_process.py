"""Programs end with their purpose: with the task, with the time, and with this very process."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipecd import process
from pipecd.errors import ConfigError
from tests.eventually import eventually


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int, bound: float = 60.0) -> bool:
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
    pid = tmp_path / "pid"
    pid.touch()
    script = f"sleep 1000 & echo $! > {pid}; sleep 1000"
    # On a busy machine the shell may need longer to come to its first line.
    for timeout in (0.5, 5.0, 50.0):
        done = await process.run(["sh", "-c", script], on_line=print, timeout=timeout, grace=1)
        assert done.timed_out
        if pid.read_text():
            break
    assert wait_until_gone(int(pid.read_text()))


async def test_a_cancelled_task_lets_the_program_clean_up_first(tmp_path: Path) -> None:
    started = asyncio.Event()
    script = f"trap 'echo bye > {tmp_path}/bye; exit 0' INT; echo up; while :; do sleep 0.05; done"
    running = asyncio.create_task(
        process.run(
            ["sh", "-c", script],
            on_line=lambda line: started.set(),
            stop_signal=signal.SIGINT,
            grace=60,
        )
    )
    await asyncio.wait_for(started.wait(), 60)
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
    await asyncio.wait_for(started.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert wait_until_gone(int(pids[0]))


async def test_children_left_behind_are_killed(tmp_path: Path) -> None:
    script = f"(sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/pid)"
    await process.run(["sh", "-c", script], on_line=print)
    assert wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_kill_of_this_process_leaves_no_grandchild(tmp_path: Path) -> None:
    program = (
        "import asyncio; from pipecd import process; "
        f"asyncio.run(process.run(['sh','-c','sleep 1000 & echo $! > {tmp_path}/pid; wait'], on_line=print))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.01)
    grandchild = int((tmp_path / "pid").read_text())
    assert alive(grandchild)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_until_gone(grandchild)


def test_a_kill_while_a_program_is_asked_to_stop_ends_that_too() -> None:
    """It ignores the request, and whoever would have killed it after its grace is no more."""
    stubborn = "trap '' TERM; echo $$; while :; do sleep 0.1; done"
    program = (
        "import asyncio; from pipecd import process\n"
        "say = lambda line: print(line, flush=True)\n"
        "async def main():\n"
        f"    work = process.run(['sh', '-c', {stubborn!r}], on_line=say, grace=1000)\n"
        "    running = asyncio.create_task(work)\n"
        "    await asyncio.to_thread(input)\n"
        "    running.cancel()\n"
        "    await asyncio.wait([running], timeout=0.1)\n"
        "    say('asked')\n"
        "    await asyncio.wait([running])\n"
        "asyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdin and parent.stdout
        pid = int(parent.stdout.readline())
        end = time.monotonic() + 60
        while not guarded(pid):
            assert time.monotonic() < end
            time.sleep(0.01)
        parent.stdin.write(b"stop it\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"asked\n"
        assert alive(pid)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until_gone(pid)


def guarded(group: int) -> bool:
    """The program and its guard have come so far that they ignore SIGTERM."""
    ignoring = 0
    for one in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getpgid(one.pid) == group and "sleep" not in one.name():
                ignored = re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{one.pid}/status").read_text())
                ignoring += bool(ignored and int(ignored[1], 16) >> (signal.SIGTERM - 1) & 1)
    return ignoring == 2


async def test_a_start_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    mark = "1000.0625"
    before = set(Path("/proc/self/fd").iterdir())
    for turns in range(30):
        running = asyncio.create_task(process.run(["sleep", mark], on_line=print))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    async def nothing_is_left() -> bool:
        listed = await process.capture(["ps", "-eo", "args"])
        left = [line for line in listed.stdout.decode().splitlines() if mark in line]
        assert left == []
        assert set(Path("/proc/self/fd").iterdir()) <= before
        return True

    await eventually(nothing_is_left)


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(ConfigError, match="nothing-of-this-name is not installed; install it"):
        await process.run(["nothing-of-this-name"], on_line=print)


async def test_capture_keeps_output_and_errors_apart() -> None:
    done = await process.capture(["sh", "-c", "cat; echo err >&2; exit 2"], stdin=b"in")
    assert done == process.Captured(code=2, stdout=b"in", stderr=b"err\n")

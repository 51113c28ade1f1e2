"""Started programs end when their task is cancelled, their timeout expires, or this process ends."""

import asyncio
import gc
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
from tests.loop_latency import loop_latency


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int, timeout: float = 60.0) -> bool:
    end = time.monotonic() + timeout
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


async def wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_output_arrives_line_by_line_including_an_unterminated_last_line() -> None:
    lines: list[str] = []
    script = r"echo one; echo two >&2; printf 'caf\351'; exit 3"
    result = await process.run(["sh", "-c", script], on_line=lines.append)
    assert result == process.ProcessExit(code=3)
    assert lines == ["one", "two", "caf�"]


async def test_a_very_long_line_is_split() -> None:
    lines: list[str] = []
    await process.run([sys.executable, "-c", "print('x' * 1_000_000)"], on_line=lines.append)
    assert sum(map(len, lines)) == 1_000_000
    assert max(map(len, lines)) <= 2 * process.MAX_LINE_LENGTH


async def test_a_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    pid.touch()
    script = f"sleep 1000 & echo $! > {pid}; sleep 1000"
    # On a busy machine the shell may take longer to reach its first line.
    for timeout in (0.5, 5.0, 50.0):
        result = await process.run(["sh", "-c", script], on_line=print, timeout=timeout, grace=1)
        assert result.timed_out
        if pid.read_text():
            break
    assert wait_until_gone(int(pid.read_text()))


async def test_a_cancelled_task_lets_the_program_clean_up_first(tmp_path: Path) -> None:
    started = asyncio.Event()
    # Not a shell: it cannot catch a signal that it inherits as ignored.
    script = (
        "import pathlib, signal, sys\n"
        f"clean_up = pathlib.Path({str(tmp_path / 'bye')!r}).touch\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(clean_up()))\n"
        "print('up', flush=True)\n"
        "signal.pause()"
    )
    running = asyncio.create_task(
        process.run(
            [sys.executable, "-c", script],
            on_line=lambda line: started.set(),
            stop_signal=signal.SIGINT,
            grace=60,
        )
    )
    await asyncio.wait_for(started.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (tmp_path / "bye").exists()


async def test_a_program_that_ignores_the_signal_is_killed() -> None:
    started = asyncio.Event()
    script = "trap '' TERM INT; echo $$; while :; do sleep 0.05; done"
    pids: list[str] = []

    def on_line(line: str) -> None:
        pids.append(line)
        started.set()

    running = asyncio.create_task(process.run(["sh", "-c", script], on_line=on_line, grace=0.2))
    await asyncio.wait_for(started.wait(), 60)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert wait_until_gone(int(pids[0]))


async def test_children_left_running_are_killed(tmp_path: Path) -> None:
    script = f"(sleep 1000 >/dev/null 2>&1 & echo $! > {tmp_path}/pid)"
    await process.run(["sh", "-c", script], on_line=print)
    assert wait_until_gone(int((tmp_path / "pid").read_text()))


def test_killing_this_process_leaves_no_grandchild(tmp_path: Path) -> None:
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


def test_killing_this_process_during_a_grace_period_ends_the_program() -> None:
    """The program ignores SIGTERM, and the process that would kill it after the grace period is gone."""
    ignores_sigterm = "trap '' TERM; echo $$; while :; do sleep 0.1; done"
    program = (
        "import asyncio; from pipecd import process\n"
        "say = lambda line: print(line, flush=True)\n"
        "async def main():\n"
        f"    program = process.run(['sh', '-c', {ignores_sigterm!r}], on_line=say, grace=1000)\n"
        "    running = asyncio.create_task(program)\n"
        "    await asyncio.to_thread(input)\n"
        "    running.cancel()\n"
        "    await asyncio.wait([running], timeout=0.1)\n"
        "    say('cancelled')\n"
        "    await asyncio.wait([running])\n"
        "asyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdin and parent.stdout
        pid = int(parent.stdout.readline())
        end = time.monotonic() + 60
        while not ignores_stop_signal(pid):
            assert time.monotonic() < end
            time.sleep(0.01)
        parent.stdin.write(b"stop it\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"cancelled\n"
        assert alive(pid)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until_gone(pid)


def ignores_stop_signal(group: int) -> bool:
    """Whether both the program and its guard ignore SIGTERM already.

    They differ by their command lines. A child that the program has just forked has the program's own.
    """
    ignoring = set()
    for running in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getpgid(running.pid) == group and "sleep" not in running.name():
                ignored = re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{running.pid}/status").read_text())
                if ignored and int(ignored[1], 16) >> (signal.SIGTERM - 1) & 1:
                    ignoring.add(tuple(running.cmdline()))
    return len(ignoring) == 2


async def test_the_guard_survives_a_signal_that_is_sent_at_once() -> None:
    """Otherwise what the program started would outlive a killed agent. Here setting a trap takes a while."""
    slow, argv = f"alias trap='sleep 0.1; trap'{process._GUARD}", ["sleep", "1000"]
    async with process._GuardedProcess(argv, cwd=None, env=None, merge=False, guard=slow) as child:
        group = child.process.pid
        os.killpg(group, signal.SIGTERM)
        await asyncio.wait_for(child.process.wait(), 60)
        guards = [running for running in psutil.process_iter() if _in_group(running.pid, group)]
        assert len(guards) == 1, "the guard was ended"
        assert child.process.returncode == -signal.SIGTERM, "the program did not get the signal"
    assert wait_until_gone(guards[0].pid)


def _in_group(pid: int, group: int) -> bool:
    with suppress(OSError):
        return os.getpgid(pid) == group and alive(pid)
    return False


async def test_a_cancelled_start_leaves_no_process_and_no_open_file(tmp_path: Path) -> None:
    duration = "1000.0625"
    before = set(Path("/proc/self/fd").iterdir())
    for loop_iterations in range(30):
        running = asyncio.create_task(process.run(["sleep", duration], on_line=print))
        for _ in range(loop_iterations):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    async def nothing_remains() -> bool:
        processes = await process.capture(["ps", "-eo", "args"])
        remaining = [line for line in processes.stdout.decode().splitlines() if duration in line]
        assert remaining == []
        assert set(Path("/proc/self/fd").iterdir()) <= before
        return True

    await eventually(nothing_remains)


def test_a_cancelled_start_leaves_no_transport_to_a_closed_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")

    async def start(loop_iterations: int) -> None:
        before = children.read_text()
        running = asyncio.create_task(process.run(["sleep", "1000"], on_line=print))
        while children.read_text() == before:  # noqa: ASYNC110 there is no event for it
            await asyncio.sleep(0)
        # The program is started now, but not ready before a few milliseconds.
        for _ in range(loop_iterations):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])

    errors: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: errors.append(error.exc_value))
    for loop_iterations in (5, 10, 20):
        asyncio.run(start(loop_iterations))
        gc.collect()
    assert errors == []


async def test_a_missing_program_is_named_in_the_error() -> None:
    with pytest.raises(ConfigError, match="nothing-of-this-name is not installed; install it"):
        await process.run(["nothing-of-this-name"], on_line=print)


async def test_capture_separates_stdout_and_stderr() -> None:
    result = await process.capture(["sh", "-c", "cat; echo err >&2; exit 2"], stdin=b"in")
    assert result == process.CapturedOutput(code=2, stdout=b"in", stderr=b"err\n")


async def test_a_program_that_prints_too_much_is_ended() -> None:
    endless = [sys.executable, "-c", "while True: print('x' * 100_000)"]
    async with loop_latency() as latency:
        with pytest.raises(ConfigError, match=r"python\S* printed more than 8 MiB"):
            await process.capture(endless, max_output=8 << 20)
    latency.check()


async def test_output_beyond_the_limit_is_not_read_from_a_process_that_left_the_group() -> None:
    """Such a process is not ended by the signal to the group, and may print without end."""
    endless = "exec setsid sh -c 'while head -c 1000000 /dev/zero; do sleep 0.05; done' 2>/dev/null"
    with pytest.raises(ConfigError, match="sh printed more than 2 MiB"):
        await process.capture(["sh", "-c", f"({endless}) & sleep 60"], max_output=2 << 20, timeout=20)


async def test_the_end_of_what_a_program_prints_as_errors_is_kept() -> None:
    script = "import sys; sys.stderr.write('x' * 5_000_000 + 'the cause'); print('done')"
    result = await process.capture([sys.executable, "-c", script])
    assert result.stdout == b"done\n" and result.stderr.endswith(b"the cause")
    assert len(result.stderr) <= process.MAX_ERRORS


async def test_input_that_is_not_read_is_no_error() -> None:
    result = await process.capture(["true"], stdin=b"x" * 1_000_000)
    assert result.code == 0
    result = await process.capture(["cat"], stdin=b"x" * 1_000_000)
    assert len(result.stdout) == 1_000_000


async def test_a_program_waits_while_its_output_cannot_be_handled(tmp_path: Path) -> None:
    """Nothing is lost, also if the program ends meanwhile; it is not limited to what fits into a pipe."""
    lines: list[str] = []
    space = asyncio.Event()
    marker = tmp_path / "written"
    script = f"i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; touch {marker}"
    running = asyncio.create_task(
        process.run(["sh", "-c", script], on_line=lines.append, drain=lambda: wait(space), grace=0.1)
    )

    async def has_output() -> bool:
        return bool(lines)

    await eventually(has_output)
    assert len(lines) <= process.LINES_AT_ONCE + 1 and not marker.exists()
    space.set()
    assert (await running).code == 0
    assert lines == [f"line {number}" for number in range(30_000)]


async def test_a_cancelled_program_ends_although_its_output_is_not_read() -> None:
    lines: list[str] = []
    never = asyncio.Event()
    running = asyncio.create_task(
        process.run(["sh", "-c", "yes"], on_line=lines.append, drain=lambda: wait(never), grace=0.1)
    )

    async def has_output() -> bool:
        return bool(lines)

    await eventually(has_output)
    before = psutil.Process().num_fds()
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert psutil.Process().num_fds() < before, "the pipes are closed"

"""Running other programs so that none of them outlives its purpose.

Each runs in a session of its own, behind a guard: a few lines of shell that hold one end of a pipe. When this
process goes away, however it goes away, the pipe closes and the guard kills the whole group.
When the task is cancelled or the time is up, the group is asked to stop (SIGINT for Terraform,
SIGTERM otherwise), and killed after `grace`.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pipecd.errors import ConfigError

#: Longer lines are cut into pieces of this many bytes.
LONGEST_LINE = 64 * 1024
OnLine = Callable[[str], None]

# The guard waits for the end of file on the pipe, then kills its process group. A shell can name a descriptor
# above 9 only by its path. `exec` keeps the program the group's leader, so its pid is the group's. The guard
# stays when the group is asked to stop, as the program may do.
_GUARD = """
pgid=$$
( trap '' HUP INT TERM; exec >/dev/null 2>&1 </dev/fd/{pipe}; read -r _; kill -s KILL -- "-$pgid" ) &
exec "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """`code` is the exit code, negative for a signal. `timed_out` says that we stopped it."""

    code: int
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Captured:
    code: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str | Path],
    *,
    on_line: OnLine,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    grace: float = 10.0,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Finished:
    """Runs `argv` and hands every line of its output to `on_line` as it comes. `env` None inherits ours.

    Raises ConfigError when the program cannot be started. A cancelled task ends only after its group has.
    """
    async with _started(argv, cwd=cwd, env=env, merge=True) as child:
        reader = asyncio.create_task(_lines(child.process, on_line), name=f"output of {argv[0]}")
        try:
            async with asyncio.timeout(timeout):
                # The output ends when the last holder of the pipe ends; the program's end is enough.
                code = await child.process.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await asyncio.shield(reader)
            return Finished(code=code)
        except TimeoutError:
            await child.stop(stop_signal, grace)
            return Finished(code=child.process.returncode or -signal.SIGKILL, timed_out=True)
        except asyncio.CancelledError:
            await child.stop(stop_signal, grace)
            raise
        finally:
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(1.0):
                    await asyncio.shield(reader)
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader


async def capture(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    grace: float = 5.0,
) -> Captured:
    """Runs `argv` to its end and returns all it wrote. Raises TimeoutError once the group has ended."""
    async with _started(argv, cwd=cwd, env=env, merge=False) as child:
        try:
            async with asyncio.timeout(timeout):
                stdout, stderr = await child.process.communicate(stdin)
        except (TimeoutError, asyncio.CancelledError):
            await child.stop(signal.SIGTERM, grace)
            raise
        return Captured(code=child.process.returncode or 0, stdout=stdout, stderr=stderr)


class _started:
    """Starts the program behind its guard; whatever happens, leaves no member of its group behind."""

    def __init__(
        self, argv: Sequence[str | Path], *, cwd: Path | None, env: Mapping[str, str] | None, merge: bool
    ) -> None:
        self._argv, self._cwd, self._env, self._merge = [str(part) for part in argv], cwd, env, merge
        self._write_end = -1
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> "_started":
        search = (self._env or os.environ).get("PATH")
        if shutil.which(self._argv[0], path=search) is None:
            raise ConfigError(f"{self._argv[0]} is not installed", remedy="install it, or put it on PATH")
        read_end, write_end = os.pipe()
        with ExitStack() as undone:
            # Also when the task is cancelled right now: the guard waits for this end to close.
            undone.callback(os.close, write_end)
            try:
                self.process = await asyncio.create_subprocess_exec(
                    "/bin/sh",
                    "-c",
                    _GUARD.format(pipe=read_end),
                    "guard",
                    *self._argv,
                    cwd=self._cwd,
                    env=None if self._env is None else dict(self._env),
                    stdin=asyncio.subprocess.DEVNULL if self._merge else asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT if self._merge else asyncio.subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=(read_end,),
                    limit=LONGEST_LINE,
                )
            except OSError as error:
                raise ConfigError(f"{self._argv[0]} cannot be started: {error.strerror}") from error
            finally:
                os.close(read_end)
            undone.pop_all()
        self._write_end = write_end
        return self

    async def __aexit__(self, *_: object) -> None:
        # Children that the program left running go too.
        self._signal(signal.SIGKILL)
        os.close(self._write_end)
        await self.process.wait()

    async def stop(self, first: signal.Signals, grace: float) -> None:
        """Asks the group to end, and kills it after `grace` seconds. Finishes even when cancelled again."""
        self._signal(first)
        ended = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait_for(asyncio.shield(ended), grace)
        except (TimeoutError, asyncio.CancelledError):
            self._signal(signal.SIGKILL)
            await ended

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


async def _lines(process: asyncio.subprocess.Process, on_line: OnLine) -> None:
    """Every line, the last one also without its end; a line that is too long comes in pieces."""
    assert process.stdout is not None
    pending = b""
    while chunk := await process.stdout.read(LONGEST_LINE):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            on_line(_text(line))
        if len(pending) >= LONGEST_LINE:
            on_line(_text(pending))
            pending = b""
    if pending:
        on_line(_text(pending))


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")

"""Runs other programs and ensures that none of them outlives this process or the calling task.

Each program runs in its own session with a guard process: a few lines of shell that hold the read end of a
pipe. When this process ends for any reason, the pipe closes and the guard kills the program's process group.
When the task is cancelled or the timeout expires, the group receives a stop signal (SIGINT for Terraform,
SIGTERM otherwise) and is killed after `grace` seconds.
"""

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pipecd import tracing
from pipecd.errors import ConfigError

#: In bytes; longer lines are split into pieces of this size.
MAX_LINE_LENGTH = 64 * 1024
#: Lines handled in one go; between them the event loop runs other tasks.
LINES_AT_ONCE = 100
#: Of a program whose output is kept, in bytes.
MAX_OUTPUT, MAX_ERRORS = 64 * 1024 * 1024, 1024 * 1024
#: How long the last output of a program may take to be handled after its end, in seconds.
MAX_FINISH = 150.0
OnLine = Callable[[str], None]
#: Returns when more lines can be handled; until then the program waits as soon as the pipe is full.
Drain = Callable[[], Awaitable[None]]

# The guard waits for end of file on the pipe, then kills its process group. A shell can refer to a descriptor
# above 9 only by its path. `exec` keeps the program the group leader, so its PID is the group's ID. The guard
# ignores the stop signals sent to the group, because the program may ignore them as well. It inherits this,
# so that there is no moment without, and no signal is sent before the program has its signals back.
_GUARD = """
pgid=$$
trap '' HUP INT TERM
( exec >/dev/null 2>&1 </dev/fd/{pipe}; read -r _; kill -s KILL -- "-$pgid" ) &
trap - HUP INT TERM
echo >/dev/fd/{ready}
exec "$@"
"""


@dataclass(frozen=True, kw_only=True)
class ProcessExit:
    """`code` is the exit code, negative for a signal. `timed_out` means it was stopped after its timeout."""

    code: int
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class CapturedOutput:
    code: int
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str | Path],
    *,
    on_line: OnLine,
    drain: Drain | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    grace: float = 10.0,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> ProcessExit:
    """Run `argv` and pass each line of its output (stdout and stderr merged) to `on_line` as it arrives.

    `env` None inherits the environment of this process; `timeout` and `grace` are in seconds. Raises
    ConfigError if the program cannot be started. When cancelled, returns only after the process group has
    ended.
    """
    async with _GuardedProcess(argv, cwd=cwd, env=env, merge=True) as child:
        output = _LineReader(child.process, on_line, drain)
        reader = asyncio.create_task(output.read(), name=f"output of {argv[0]}")
        try:
            async with asyncio.timeout(timeout):
                # Don't wait for the end of the output: a child of the program may keep the pipe open.
                code = await child.wait()
                await output.finish(reader, grace)
            return ProcessExit(code=code)
        except TimeoutError:
            await child.stop(stop_signal, grace)
            return ProcessExit(code=child.process.returncode or -signal.SIGKILL, timed_out=True)
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
    max_output: int = MAX_OUTPUT,
    span: str = "",
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> CapturedOutput:
    """Run `argv` and return its output. Of the errors it prints, at most the last `MAX_ERRORS` bytes.

    `span` is the name of its span in a trace, instead of that of the program; `attributes` are added to it.
    `timeout` and `grace` are in seconds. Raises TimeoutError, after the process group has ended, and
    ConfigError if the program cannot be started or prints more than `max_output` bytes.
    """
    guarded = _GuardedProcess(argv, cwd=cwd, env=env, merge=False, span=span, attributes=attributes)
    async with guarded as child:
        process = child.process
        assert process.stdin and process.stdout and process.stderr
        output, errors = _Output(max_output), _Output(MAX_ERRORS)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(
                    _write(process.stdin, stdin),
                    _read_output(process.stdout, output, on_overflow=child.kill),
                    _read_output(process.stderr, errors, on_overflow=errors.drop_oldest),
                )
                await child.wait()
        except (TimeoutError, asyncio.CancelledError):
            await child.stop(signal.SIGTERM, grace)
            raise
        if output.overflowed:
            raise ConfigError(
                f"{Path(argv[0]).name} printed more than {max_output >> 20} MiB",
                remedy="output of this size is not processed: split the application, state or repository",
            )
        return CapturedOutput(code=process.returncode or 0, stdout=output.content, stderr=errors.content)


class _Output:
    """What a program printed, in pieces as they were read. `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._pieces: deque[bytes] = deque()

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    @property
    def overflowed(self) -> bool:
        return self._size > self._limit

    @property
    def content(self) -> bytes:
        return b"".join(self._pieces)

    def drop_oldest(self) -> None:
        while self.overflowed:
            self._size -= len(self._pieces.popleft())


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    """Write `data` and close the stream. A program need not read it."""
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _read_output(
    stream: asyncio.StreamReader, output: _Output, on_overflow: Callable[[], None]
) -> None:
    """Read to the end, or until the limit is exceeded and `on_overflow` drops nothing."""
    while not output.overflowed and (piece := await stream.read(MAX_LINE_LENGTH)):
        output.add(piece)
        if output.overflowed:
            on_overflow()


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells when the program has ended. `asyncio.subprocess.Process.wait` also waits, in some versions of
    Python, for the end of the output, which does not come while nothing reads it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=MAX_LINE_LENGTH, loop=loop)
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.ended.set()


class _GuardedProcess:
    """A program started with its guard. Leaving the block kills every remaining member of its group."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None,
        env: Mapping[str, str] | None,
        merge: bool,
        guard: str = _GUARD,
        span: str = "",
        attributes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._guard = guard
        self._argv, self._cwd, self._env, self._merge = [str(part) for part in argv], cwd, env, merge
        # Not with its arguments, which may be secrets.
        name = Path(argv[0]).name
        self._span_name = span or f"run {name}"
        self._attributes = {"process.executable.name": name, **attributes}
        self._write_end = -1
        self._span: tracing.Span | None = None
        self._ended: asyncio.Event
        self._transport: asyncio.SubprocessTransport
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> "_GuardedProcess":
        search_path = (self._env or os.environ).get("PATH")
        if shutil.which(self._argv[0], path=search_path) is None:
            raise ConfigError(f"{self._argv[0]} is not installed", remedy="install it, or put it on PATH")
        read_end, write_end = os.pipe()
        ready_end, starting_end = os.pipe()
        with ExitStack() as on_exit, ExitStack() as on_failure:
            on_exit.callback(os.close, ready_end)
            # Needed also when the task is cancelled here: the guard waits for this end to close.
            on_failure.callback(os.close, write_end)
            try:
                loop = asyncio.get_running_loop()
                self._transport, protocol = await loop.subprocess_exec(
                    lambda: _Protocol(loop),
                    "/bin/sh",
                    "-c",
                    self._guard.format(pipe=read_end, ready=starting_end),
                    "guard",
                    *self._argv,
                    cwd=self._cwd,
                    env=None if self._env is None else dict(self._env),
                    stdin=asyncio.subprocess.DEVNULL if self._merge else asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT if self._merge else asyncio.subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=(read_end, starting_end),
                )
                self.process = asyncio.subprocess.Process(self._transport, protocol, loop)
                self._ended = protocol.ended
            except OSError as error:
                raise ConfigError(f"{self._argv[0]} cannot be started: {error.strerror}") from error
            finally:
                os.close(read_end)
                os.close(starting_end)
            try:
                await _readable(ready_end)
            except BaseException:
                # An open transport would outlive the event loop.
                self._transport.close()
                await self._ended.wait()
                raise
            on_failure.pop_all()
        self._write_end = write_end
        self._span = tracing.begin(self._span_name, attributes=self._attributes)
        return self

    def _end_span(self) -> None:
        if self._span:
            code = self.process.returncode
            if code is None:
                self._span.fail("stopped")
            else:
                self._span.set_attribute("process.exit.code", code)
            self._span.end()

    async def __aexit__(self, *_: object) -> None:
        self._end_span()
        # Also kills children that the program left running.
        self._signal(signal.SIGKILL)
        os.close(self._write_end)
        await self.wait()
        # Output that nothing read would leave the pipes open.
        self._transport.close()

    async def wait(self) -> int:
        """The exit code, once the program has ended. Its output may not be read to the end."""
        await self._ended.wait()
        code = self.process.returncode
        assert code is not None
        return code

    async def stop(self, stop_signal: signal.Signals, grace: float) -> None:
        """Send `stop_signal` to the group and kill it after `grace` seconds. Completes even if cancelled."""
        self._signal(stop_signal)
        exit_future = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait_for(asyncio.shield(exit_future), grace)
        except (TimeoutError, asyncio.CancelledError):
            self._signal(signal.SIGKILL)
            await exit_future

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


async def _readable(descriptor: int) -> None:
    """Returns once there is something to read, or the other end is closed."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)


class _LineReader:
    """Passes every line of a program's output to `on_line`, as fast as `drain` allows."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: OnLine, drain: Drain | None) -> None:
        self._process, self._on_line, self._drain = process, on_line, drain
        #: Whether lines are being handled; otherwise more output is awaited.
        self._busy = False

    async def read(self) -> None:
        """Handle the output to its end, an unterminated last line included; split lines that are too long."""
        assert self._process.stdout is not None
        pending = b""
        while chunk := await self._process.stdout.read(MAX_LINE_LENGTH):
            self._busy = True
            *lines, pending = (pending + chunk).split(b"\n")
            for number, line in enumerate(lines, start=1):
                self._on_line(_decode(line))
                if number % LINES_AT_ONCE == 0:
                    await self._pause()
            if len(pending) >= MAX_LINE_LENGTH:
                self._on_line(_decode(pending))
                pending = b""
            await self._pause()
            self._busy = False
        if pending:
            self._on_line(_decode(pending))

    async def finish(self, reader: "asyncio.Task[None]", grace: float) -> None:
        """Wait until the output of a program that has ended is handled.

        A child of the program may keep the pipe open, or even write on: returns after `grace` seconds if
        nothing is left to handle, and after `MAX_FINISH` seconds at the latest.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_FINISH):
                while not reader.done():
                    await asyncio.wait([reader], timeout=grace)
                    if not self._busy:
                        return

    async def _pause(self) -> None:
        await asyncio.sleep(0)
        if self._drain:
            await self._drain()


def _decode(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")

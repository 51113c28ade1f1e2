"""Runs the programs of this package as processes that start at once.

    agent = start_program(["piped", "piped", "--config-file=piped.yaml"], output=tmp_path / "agent.log")
    agent.kill()                               # SIGKILL
    result = run_program(["launcher", "version"], tmp_path)
    other = start_function(function_of_a_module, 1, output=tmp_path / "other.log")

Each process is forked from one that has already imported the package, because starting an interpreter and
importing everything takes a second of CPU time or more. Otherwise it is an independent process, with its own
session. Tests of the start of an interpreter use `sys.executable` instead.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

#: Name → function in `pipecd.__main__`, as in pyproject.toml.
_ENTRY_POINTS = {"pipecd": "main", "piped": "piped", "pipectl": "pipectl", "launcher": "launcher"}
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded_modules"])


@dataclass(frozen=True)
class Program:
    """A running program. Its output, stdout and stderr, is appended to a file."""

    process: BaseProcess

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the program runs."""
        return self.process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit code. Raises AssertionError if the program still runs after `timeout` seconds."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"the program still runs after {timeout:g} s"
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program with SIGKILL and wait for its end."""
        self.send_signal(signal.SIGKILL)
        self.wait(60)


@dataclass(frozen=True, kw_only=True)
class Completed:
    returncode: int
    stdout: str
    stderr: str


def start_program(
    argv: Sequence[str],
    *,
    output: Path,
    errors: Path | None = None,
    stdin: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    steps: int = 0,
) -> Program:
    """Start a program: `argv` begins with its name (pipecd, piped, pipectl or launcher).

    Its output is appended to `output`; stderr to `errors`, if given. Its standard input is `stdin`, or empty.
    `env` replaces the environment, which is otherwise inherited. With `steps`, the process kills itself with
    SIGKILL after so many steps of its event loop: while a task runs, or between two of its awaits.
    """
    environment = dict(os.environ if env is None else env)
    process = _context.Process(
        target=_run,
        args=(
            list(argv),
            stdin or Path(os.devnull),
            output,
            errors or output,
            environment,
            cwd or Path.cwd(),
            steps,
        ),
    )
    process.start()
    return Program(process)


def start_function(function: Callable[..., None], *arguments: Any, output: Path) -> Program:
    """Run a function of a test's module in a process of its own; its output is appended to `output`."""
    process = _context.Process(target=_call, args=(function, arguments, output))
    process.start()
    return Program(process)


def run_program(
    argv: Sequence[str],
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
) -> Completed:
    """Run a program to its end, as `start_program` does. Creates two files in `folder`."""
    output, errors = folder / "program.stdout", folder / "program.stderr"
    for file in (output, errors):
        file.write_bytes(b"")
    program = start_program(argv, output=output, errors=errors, env=env, cwd=cwd)
    try:
        code = program.wait(timeout)
    finally:
        program.kill()
    return Completed(returncode=code, stdout=output.read_text(), stderr=errors.read_text())


def _run(
    argv: list[str],
    stdin: Path,
    output: Path,
    errors: Path,
    environment: Mapping[str, str],
    folder: Path,
    steps: int,
) -> None:
    """Runs in the forked process."""
    from pipecd import __main__ as programs

    _detach(stdin, output, errors)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = argv
    if steps:
        asyncio.set_event_loop_policy(_KillingPolicy(steps))
    getattr(programs, _ENTRY_POINTS[argv[0]])()


def _call(function: Callable[..., None], arguments: Sequence[Any], output: Path) -> None:
    """Runs in the forked process."""
    _detach(Path(os.devnull), output, output)
    function(*arguments)


def _detach(stdin: Path, output: Path, errors: Path) -> None:
    """Make this process independent of the test's."""
    os.setsid()
    # Tests that a shell starts in the background inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, file, flags in ((0, stdin, os.O_RDONLY), (1, output, writing), (2, errors, writing)):
        descriptor = os.open(file, flags, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


class _KillingPolicy(asyncio.DefaultEventLoopPolicy):
    """Its event loops kill the process at step number `steps`, counted over all of them."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _KillingLoop(self)

    def count(self) -> None:
        self._steps -= 1
        if self._steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _KillingLoop(asyncio.SelectorEventLoop):
    def __init__(self, policy: _KillingPolicy) -> None:
        super().__init__()
        self._policy = policy

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self._policy.count()
        return super().call_soon(*args, **kwargs)

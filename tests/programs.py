"""Runs the programs of this package as processes that start at once.

    agent = start_program(["piped", "piped", "--config-file=piped.yaml"], output=tmp_path / "agent.log")
    agent.kill()                               # SIGKILL
    result = run_program(["launcher", "version"], tmp_path)
    other = start_function(function_of_a_module, 1, output=tmp_path / "other.log")

Each process is forked from one that has already imported the package, because starting an interpreter and
importing everything takes a second of CPU time or more: from the one that also forks the workers of
pytest-xdist, or without those, from one that this module starts. Otherwise it is an independent process, with
its own session; it is killed when the process ends that has started it. Tests of the start of an interpreter
use `sys.executable` instead. A program that starts others with its interpreter starts them as quickly with
`forked_interpreter`.
"""

import asyncio
import atexit
import gc
import os
import pickle
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import structlog

from tests import fork_server

#: Name → function in `pipecd.__main__`, as in pyproject.toml.
_ENTRY_POINTS = {"pipecd": "main", "piped": "piped", "pipectl": "pipectl", "launcher": "launcher"}
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Program:
    """A running program. Its output, stdout and stderr, is appended to a file."""

    process: fork_server.Fork

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the program runs."""
        return self.process.wait(0)

    def wait(self, timeout: float) -> int:
        """The exit code. Raises AssertionError if the program still runs after `timeout` seconds."""
        code = self.process.wait(timeout)
        assert code is not None, f"the program still runs after {timeout:g} s"
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            # It may have ended meanwhile.
            with suppress(ProcessLookupError):
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
    interpreter: Path | None = None,
) -> Program:
    """Start a program: `argv` begins with its name (pipecd, piped, pipectl or launcher).

    Its output is appended to `output`; stderr to `errors`, if given. Its standard input is `stdin`, or empty.
    `env` replaces the environment, which is otherwise inherited. With `steps`, the process kills itself with
    SIGKILL after so many steps of its event loop: while a task runs, or between two of its awaits.
    `interpreter` is what it starts other programs with, in place of Python's.
    """
    environment = dict(os.environ if env is None else env)
    function = partial(_run, list(argv), environment, cwd or Path.cwd(), steps, interpreter)
    return _start(function, stdin or Path(os.devnull), output, errors or output)


def start_function(function: Callable[..., None], *arguments: Any, output: Path) -> Program:
    """Run a function of a test's module in a process of its own; its output is appended to `output`."""
    return _start(partial(function, *arguments), Path(os.devnull), output, output)


def _start(function: Callable[[], None], stdin: Path, output: Path, errors: Path) -> Program:
    message = pickle.dumps(partial(_detached, function))
    with ExitStack() as opened:
        writing = [opened.enter_context(file.open("ab")) for file in (output, errors)]
        files = [opened.enter_context(stdin.open("rb")), *writing]
        return Program(fork_server.Fork(_server(), [file.fileno() for file in files], message))


def forked_interpreter(folder: Path) -> Path:
    """Create a program in `folder` that can be used in place of Python's, with the arguments `-m` or `-c`.

    It waits for a process that is forked as others, and ends as it ends.
    """
    program = Path(__file__).with_name("forked_interpreter.py")
    command = shlex.join([sys.executable, "-I", "-S", str(program), _server()])
    script = folder / "forked-python"
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o755)
    return script


@cache
def _server() -> str:
    """The address of the server that has forked this process, or of a new one, which ends with this one."""
    if fork_server.own_server:
        return fork_server.own_server
    stack = ExitStack()
    atexit.register(stack.close)
    command = [sys.executable, "-m", "tests.preloaded_modules"]
    return stack.enter_context(fork_server.server(command, _ROOT))


def run_program(
    argv: Sequence[str],
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
    interpreter: Path | None = None,
) -> Completed:
    """Run a program to its end, as `start_program` does. Creates two files in `folder`."""
    output, errors = folder / "program.stdout", folder / "program.stderr"
    for file in (output, errors):
        file.write_bytes(b"")
    program = start_program(argv, output=output, errors=errors, env=env, cwd=cwd, interpreter=interpreter)
    try:
        code = program.wait(timeout)
    finally:
        program.kill()
    return Completed(returncode=code, stdout=output.read_text(), stderr=errors.read_text())


def _detached(function: Callable[[], None]) -> None:
    """Runs in the forked process."""
    detach()
    function()


def detach() -> None:
    """Make this forked process independent of the one that it was forked from."""
    os.setsid()
    # Tests that a shell starts in the background inherit that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    structlog.reset_defaults()
    gc.set_threshold(700, 10, 10)


def _run(
    argv: list[str],
    environment: Mapping[str, str],
    folder: Path,
    steps: int,
    interpreter: Path | None,
) -> None:
    """Runs in the forked process."""
    from pipecd import __main__ as programs

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = argv
    if interpreter:
        sys.executable = str(interpreter)
    if steps:
        asyncio.set_event_loop_policy(_KillingPolicy(steps))
    getattr(programs, _ENTRY_POINTS[argv[0]])()


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

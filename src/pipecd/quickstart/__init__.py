"""Runs control plane, agent, a Git remote and four demo applications on one machine.

`run` starts the programs as separate processes with configuration files, as a user would, and registers the
agent and the applications through the console's API. It uses no interface that users don't have.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

from pipecd import process
from pipecd.admin_port import http_get
from pipecd.errors import ConfigError, Temporary
from pipecd.quickstart import aws_emulator, demo_repository
from pipecd.quickstart.console import Console
from pipecd.quickstart.git_server import GitServer
from pipecd.quickstart.polling import poll_until
from pipecd.quickstart.ports import Ports
from pipecd.quickstart.state import PROJECT, USERNAME, State

#: Prints one line to the terminal.
Print = Callable[[str], None]
#: Until a program is ready, in seconds.
READY_TIMEOUT = 180.0
APPLICATIONS = dict.fromkeys(("network", "website", "greeting", "limits"), "TERRAFORM")
AWS_APPLICATIONS = {"function": "LAMBDA", "service": "ECS"}


async def run(
    folder: Path,
    ports: Ports,
    print_line: Print,
    ready: Callable[[State, Ports], None],
    *,
    with_aws: bool = False,
) -> None:
    """Run until SIGINT or SIGTERM. `ready` is called once everything is running. Raises ConfigError."""
    if with_aws:
        aws_emulator.check_installed()
    ports.check(with_aws=with_aws)
    state = State.open(folder, with_aws=with_aws)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _explain_os_errors(folder), _git_remote(state, ports) as git, state.locked():
        demo_repository.create(git, state)
        state.write_control_plane(ports)
        state.write_getting_started(git.url(demo_repository.NAME))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(_run_programs(state, ports, git, print_line, ready))
            waiting = tasks.create_task(stop.wait())
            done, _ = await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                print_line("Stopping…")
            running.cancel()
            waiting.cancel()
    print_line(f"Stopped. The state is stored in {state.folder}")


@contextlib.contextmanager
def _explain_os_errors(folder: Path) -> Iterator[None]:
    """Convert file system errors to a ConfigError, which the user can fix."""
    try:
        yield
    except* OSError as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise ConfigError(
            f"the state directory {folder} cannot be used: {error}",
            remedy="if it is broken, remove it with `make quickstart-clean` (or `pipecd quickstart --clean`)",
        ) from error


async def _run_programs(
    state: State, ports: Ports, git: GitServer, print_line: Print, ready: Callable[[State, Ports], None]
) -> None:
    """Run all programs until cancelled or until one of them ends, which raises its error."""
    async with asyncio.TaskGroup() as tasks:
        started, since = time.monotonic(), int(time.time())
        if state.with_aws:
            print_line("Starting the emulated AWS…")
            tasks.create_task(_emulated_aws(state, ports), name="aws")
            await _wait_until_open(ports.aws, "emulated AWS", state)
            resources = await aws_emulator.seed(ports.aws)
            await asyncio.to_thread(demo_repository.write_aws_applications, git, resources)
        print_line("Starting the control plane…")
        server = _run_program(state, "server", _server_command(state, ports))
        tasks.create_task(server, name="control plane")
        await _wait_until_healthy(ports.server_admin, "control plane", state)
        async with Console(f"http://127.0.0.1:{ports.console}") as console:
            await console.sign_in(PROJECT, USERNAME, state.password())
            await _register_agent(state, ports, git, console)
            print_line("Starting the agent…")
            environment = aws_emulator.environment(ports.aws) if state.with_aws else {}
            agent = _run_program(state, "piped", _agent_command(state, ports), environment)
            tasks.create_task(agent, name="agent")
            await _wait_until_healthy(ports.agent_admin, "agent", state)
            await _register_applications(state, console)
            print_line(f"Ready after {time.monotonic() - started:.1f} s")
            ready(state, ports)
            tasks.create_task(demo_repository.demonstrate_rollback(git, state, console), name="rollback")
            if state.with_aws:
                await demo_repository.demonstrate_traffic_routing(git, console, since)
            await asyncio.Event().wait()


def _git_remote(state: State, ports: Ports) -> GitServer:
    """A Git server that sends a signed webhook to the control plane for each push, like a Git host."""

    def on_push(repository: str) -> None:
        state.send_push_webhook(f"http://127.0.0.1:{ports.console}", git.url(repository))

    git = GitServer(state.folder / "git", port=ports.git, on_push=on_push)
    return git


async def _register_agent(state: State, ports: Ports, git: GitServer, console: Console) -> None:
    if not state.has_agent():
        piped = await console.call("RegisterPiped", name="quickstart", desc="The agent on this machine")
        state.store_agent(piped["id"], piped["key"])
    state.write_agent(ports, git.url(demo_repository.NAME))


async def _register_applications(state: State, console: Console) -> None:
    """Register the missing applications once the agent has reported its repositories."""
    piped_id = state.agent_id()
    async with _ready_timeout("the agent did not report its repositories", state.log("piped")):
        await poll_until(lambda: _has_repositories(console, piped_id))
    registered = (await console.call("ListApplications")).get("applications", [])
    paths = {application["gitPath"]["path"] for application in registered}
    for name, kind in (APPLICATIONS | (AWS_APPLICATIONS if state.with_aws else {})).items():
        # An application that the user deleted is not registered again at the next start.
        if name not in paths and not state.was_registered(name):
            path = {"repo": {"id": demo_repository.NAME}, "path": name, "configFilename": "app.pipecd.yaml"}
            await console.call(
                "AddApplication",
                name=name,
                pipedId=piped_id,
                gitPath=path,
                kind=kind,
                platformProvider=kind.lower(),
                labels={"env": "demo"},
            )
        state.mark_registered(name)


def _server_command(state: State, ports: Ports) -> list[str]:
    return [
        *_python(),
        "server",
        f"--config-file={state.folder / 'control-plane.yaml'}",
        f"--encryption-key-file={state.folder / 'secrets' / 'encryption-key'}",
        "--host=127.0.0.1",
        f"--piped-api-port={ports.api}",
        f"--http-port={ports.console}",
        f"--admin-port={ports.server_admin}",
        f"--newcomer-file={state.folder / 'newcomer.json'}",
        "--insecure-cookie",
        "--grace-period=1",
    ]


def _agent_command(state: State, ports: Ports) -> list[str]:
    return [
        *_python(),
        "piped",
        f"--config-file={state.folder / 'piped.yaml'}",
        "--insecure",
        f"--admin-port={ports.agent_admin}",
        f"--home-dir={state.folder / 'agent'}",
    ]


def _python() -> list[str]:
    return [sys.executable, "-m", "pipecd"]


async def _emulated_aws(state: State, ports: Ports) -> None:
    await _run_program(state, "aws", aws_emulator.command(ports.aws), aws_emulator.SERVER_ENVIRONMENT)


async def _run_program(
    state: State, name: str, command: list[str], environment: Mapping[str, str] | None = None
) -> None:
    """Run a program with its output in a log file. Raises ConfigError with its last lines when it ends."""
    last_lines: list[str] = []
    with state.log(name).open("a") as log:

        def on_line(text: str) -> None:
            last_lines[:] = [*last_lines[-4:], text]
            log.write(f"{text}\n")
            log.flush()

        variables = {**os.environ, **(environment or {})}
        result = await process.run(command, on_line=on_line, grace=20.0, env=variables)
    output = "\n  ".join(last_lines)
    raise ConfigError(
        f"{name} exited with code {result.code}:\n  {output}",
        remedy=f"see {state.log(name)}; if the state directory is broken, remove it with"
        " `make quickstart-clean` (or `pipecd quickstart --clean`)",
    )


async def _wait_until_healthy(port: int, name: str, state: State) -> None:
    async with _ready_timeout(f"the {name} is not ready after {READY_TIMEOUT:.0f} s", state.folder / "logs"):
        await poll_until(lambda: _is_healthy(port))


async def _wait_until_open(port: int, name: str, state: State) -> None:
    async with _ready_timeout(f"the {name} is not ready after {READY_TIMEOUT:.0f} s", state.folder / "logs"):
        await poll_until(lambda: _accepts_connections(port))


async def _accepts_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _has_repositories(console: Console, piped_id: str) -> bool:
    response = await console.call("GetPiped", pipedId=piped_id)
    return bool(response["piped"].get("repositories"))


async def _is_healthy(port: int) -> bool:
    try:
        code, _, _ = await http_get(port, "/healthz")
    except Temporary:
        return False
    return code == 200


@contextlib.asynccontextmanager
async def _ready_timeout(what: str, log: Path) -> AsyncIterator[None]:
    """Raises Temporary with `what` and the path of the log if the block exceeds READY_TIMEOUT."""
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            yield
    except TimeoutError:
        raise Temporary(f"{what}; see {log}") from None

"""Everything on one machine in one command: control plane, agent, a Git remote and four applications.

`run` starts the programs as anybody would, as processes with configuration files, and is their person at
the console: it registers the agent and the applications. Nothing here is a short cut past the product.
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
from pipecd.admin_port import asked
from pipecd.errors import ConfigError, Temporary
from pipecd.quickstart import aws_emulator, demo_repository
from pipecd.quickstart.console import Console
from pipecd.quickstart.git_server import GitServer
from pipecd.quickstart.polling import until
from pipecd.quickstart.ports import Ports
from pipecd.quickstart.state import PROJECT, USERNAME, State

Say = Callable[[str], None]
#: How long a program may take until it is ready (seconds).
PATIENCE = 180.0
APPLICATIONS = dict.fromkeys(("network", "website", "greeting", "limits"), "TERRAFORM")
AWS_APPLICATIONS = {"function": "LAMBDA", "service": "ECS"}


async def run(
    folder: Path, ports: Ports, say: Say, ready: Callable[[State, Ports], None], *, with_aws: bool = False
) -> None:
    """Until SIGINT or SIGTERM. Raises ConfigError with its remedy."""
    if with_aws:
        aws_emulator.check_installed()
    ports.check(with_aws=with_aws)
    state = State.opened(folder, with_aws=with_aws)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _told_plainly(folder), _git_remote(state, ports) as git, state.locked():
        demo_repository.create(git, state)
        state.write_control_plane(ports)
        state.write_newcomer(git.url(demo_repository.NAME))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(_keep(state, ports, git, say, ready))
            waiting = tasks.create_task(stop.wait())
            done, _ = await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                say("Stopping…")
            running.cancel()
            waiting.cancel()
    say(f"Stopped. Everything is kept in {state.folder}")


@contextlib.contextmanager
def _told_plainly(folder: Path) -> Iterator[None]:
    """Whatever the file system refuses us is for the person at the terminal to mend."""
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


async def _keep(
    state: State, ports: Ports, git: GitServer, say: Say, ready: Callable[[State, Ports], None]
) -> None:
    """All programs, until cancelled or until one of them ends."""
    async with asyncio.TaskGroup() as tasks:
        began, since = time.monotonic(), int(time.time())
        facts: Mapping[str, str] = {}
        if state.with_aws:
            say("Starting the emulated AWS…")
            tasks.create_task(_emulated_aws(state, ports), name="aws")
            await _open(ports.aws, "emulated AWS", state)
            facts = await aws_emulator.seed(ports.aws)
            await asyncio.to_thread(demo_repository.begin_anew, git, facts)
        say("Starting the control plane…")
        server = _program(state, "server", _server_command(state, ports))
        tasks.create_task(server, name="control plane")
        await _healthy(ports.server_admin, "control plane", state)
        async with Console(f"http://127.0.0.1:{ports.console}") as console:
            await console.sign_in(PROJECT, USERNAME, state.password())
            await _register_agent(state, ports, git, console)
            say("Starting the agent…")
            environment = aws_emulator.environment(ports.aws) if state.with_aws else {}
            agent = _program(state, "piped", _agent_command(state, ports), environment)
            tasks.create_task(agent, name="agent")
            await _healthy(ports.agent_admin, "agent", state)
            await _register_applications(state, console)
            say(f"Ready after {time.monotonic() - began:.1f} s")
            ready(state, ports)
            tasks.create_task(demo_repository.show_rollback(git, state, console), name="rollback")
            if state.with_aws:
                await demo_repository.show_traffic(git, console, since)
            await asyncio.Event().wait()


def _git_remote(state: State, ports: Ports) -> GitServer:
    """Tells the control plane of each push, signed like a Git host's webhook."""

    def pushed(repository: str) -> None:
        state.tell_of_push(f"http://127.0.0.1:{ports.console}", git.url(repository))

    git = GitServer(state.folder / "git", port=ports.git, on_push=pushed)
    return git


async def _register_agent(state: State, ports: Ports, git: GitServer, console: Console) -> None:
    if not state.has_agent():
        made = await console.call("RegisterPiped", name="quickstart", desc="The agent on this machine")
        state.keep_agent(made["id"], made["key"])
    state.write_agent(ports, git.url(demo_repository.NAME))


async def _register_applications(state: State, console: Console) -> None:
    """What is not registered yet, once the agent has told which repositories it has."""
    piped_id = state.agent_id()
    async with _patience("the agent did not report its repositories", state.log("piped")):
        await until(lambda: _has_repositories(console, piped_id))
    known = (await console.call("ListApplications")).get("applications", [])
    names = {application["gitPath"]["path"] for application in known}
    for name, kind in (APPLICATIONS | (AWS_APPLICATIONS if state.with_aws else {})).items():
        # Whoever deleted an application does not want it back at the next start.
        if name not in names and not state.was_registered(name):
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
        state.registered(name)


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
    more = aws_emulator.SERVER_ENVIRONMENT
    await _program(state, "aws", aws_emulator.command(ports.aws), more)


async def _program(
    state: State, name: str, command: list[str], environment: Mapping[str, str] | None = None
) -> None:
    """Runs it with its output in a file; its end is an error, and its last words say why."""
    last: list[str] = []
    with state.log(name).open("a") as log:

        def line(text: str) -> None:
            last[:] = [*last[-4:], text]
            log.write(f"{text}\n")
            log.flush()

        whole = {**os.environ, **(environment or {})}
        finished = await process.run(command, on_line=line, grace=20.0, env=whole)
    words = "\n  ".join(last)
    raise ConfigError(
        f"{name} ended with code {finished.code}:\n  {words}",
        remedy=f"see {state.log(name)}; if the state directory is broken, remove it with"
        " `make quickstart-clean` (or `pipecd quickstart --clean`)",
    )


async def _healthy(port: int, name: str, state: State) -> None:
    async with _patience(f"the {name} is not ready after {PATIENCE:.0f} s", state.folder / "logs"):
        await until(lambda: _answers(port))


async def _open(port: int, name: str, state: State) -> None:
    async with _patience(f"the {name} is not ready after {PATIENCE:.0f} s", state.folder / "logs"):
        await until(lambda: _accepts(port))


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _has_repositories(console: Console, piped_id: str) -> bool:
    answer = await console.call("GetPiped", pipedId=piped_id)
    return bool(answer["piped"].get("repositories"))


async def _answers(port: int) -> bool:
    try:
        code, _, _ = await asked(port, "/healthz")
    except Temporary:
        return False
    return code == 200


@contextlib.asynccontextmanager
async def _patience(what: str, log: Path) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise Temporary(f"{what}; see {log}") from None

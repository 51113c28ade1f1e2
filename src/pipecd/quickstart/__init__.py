"""Runs control plane, agent, a Git remote, an inbox and demo applications on one machine.

`run` starts the programs as separate processes with configuration files, as a user would, and registers the
agent and the applications through the console's API. It uses no interface that users don't have.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

from pipecd.admin_port import http_get
from pipecd.errors import ConfigError, Temporary
from pipecd.quickstart import aws_emulator, demo_cluster, demo_repository, demos, google_emulator
from pipecd.quickstart.console import Console
from pipecd.quickstart.demo_cluster import DemoCluster
from pipecd.quickstart.git_server import GitServer
from pipecd.quickstart.guide import describe_demo
from pipecd.quickstart.inbox import Inbox
from pipecd.quickstart.polling import poll_until
from pipecd.quickstart.ports import Ports
from pipecd.quickstart.programs import Print, Program, run_program
from pipecd.quickstart.state import PROJECT, USERNAME, State
from pipecd.stop_signals import call_at_stop_signal

#: Until a program is ready, in seconds.
READY_TIMEOUT = 180.0


async def run(
    folder: Path,
    ports: Ports,
    print_line: Print,
    ready: Callable[[State, Ports], None],
    *,
    with_aws: bool = False,
    cluster: DemoCluster | None = None,
    google: bool = False,
) -> None:
    """Run until SIGINT or SIGTERM. `ready` is called once everything is running. Raises ConfigError.

    With a `cluster`, the demo is that of Kubernetes; with `google`, that of Cloud Run on an emulated Google
    Cloud.
    """
    if google:
        google_emulator.check_installed()
    if with_aws:
        aws_emulator.check_installed()
    if cluster:
        demo_cluster.check_installed()
        if not cluster.simulated:
            version = await demo_cluster.check(cluster)
            print_line(f"Using the namespace {cluster.namespace} of a Kubernetes {version} cluster")
    ports.check(with_aws=with_aws, with_cluster=bool(cluster and cluster.simulated), google=google)
    state = State.open(folder, with_aws=with_aws, cluster=cluster, google=google)
    stop = asyncio.Event()
    call_at_stop_signal(lambda _: stop.set())
    with (
        _explain_os_errors(folder),
        _git_remote(state, ports) as git,
        state.locked(),
        _inbox(state, ports),
    ):
        if cluster:
            demo_cluster.store(cluster, state.cluster_file)
        demo_repository.create(git, state)
        state.write_control_plane(ports)
        state.write_guide(describe_demo(state, git.url(demo_repository.NAME), ports))
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(_run_programs(state, ports, git, print_line, ready))
            waiting = tasks.create_task(stop.wait())
            done, _ = await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                print_line("Stopping…")
            running.cancel()
            waiting.cancel()
    print_line(f"Stopped. The state is stored in {state.folder}")
    if cluster and (stays := demo_cluster.removal(state.cluster_file)):
        print_line(stays)


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
    """Run all programs until cancelled or until one of them fails, which raises its error."""
    async with asyncio.TaskGroup() as tasks:
        started, since = time.monotonic(), int(time.time())

        def start(program: Program) -> None:
            print_line(f"Starting the {program.name}…")
            tasks.create_task(run_program(program, print_line), name=program.name)

        if state.cluster and state.cluster.simulated:
            await _start_cluster(state.cluster, state, ports, start)
        if state.with_aws:
            start(_emulated_aws(state, ports))
            await _wait_until_open(ports.aws, "emulated AWS", state)
            resources = await aws_emulator.seed(ports.aws)
            await asyncio.to_thread(demo_repository.write_aws_applications, git, resources)
        if state.google:
            start(_emulated_google(state, ports))
        start(_control_plane(state, ports))
        has_agent = state.has_agent()
        if has_agent:  # It connects as soon as the control plane is ready.
            state.write_agent(ports, git.url(demo_repository.NAME))
            start(_agent(state, ports))
        await _wait_until_healthy(ports.server_admin, "control plane", state)
        async with Console(f"http://127.0.0.1:{ports.console}") as console:
            await console.sign_in(PROJECT, USERNAME, state.password())
            if not has_agent:
                await _register_agent(state, ports, git, console)
                start(_agent(state, ports))
            await _wait_until_healthy(ports.agent_admin, "agent", state)
            if state.google:
                await _wait_until_open(ports.google, "emulated Google Cloud", state)
            await _register_applications(state, console)
            print_line(f"Ready after {time.monotonic() - started:.1f} s")
            ready(state, ports)
            tasks.create_task(demo_repository.demonstrate_rollback(git, state, console), name="rollback")
            if cluster := state.cluster:
                edit = partial(demo_cluster.edit_by_hand, cluster)
                drift = demo_repository.demonstrate_drift(state, console, demo_cluster.EDITED, edit)
                tasks.create_task(drift, name="drift")
            if state.google:
                edit = partial(google_emulator.edit_by_hand, ports.google)
                drift = demo_repository.demonstrate_drift(state, console, google_emulator.EDITED, edit)
                tasks.create_task(drift, name="drift")
            if state.google or (state.cluster and state.cluster.gateway):
                promotion = demo_repository.demonstrate_promotion(git, state, console)
                tasks.create_task(promotion, name="promotion")
            if state.with_aws:
                await demo_repository.demonstrate_traffic_routing(git, console, since)
            await asyncio.Event().wait()


def _git_remote(state: State, ports: Ports) -> GitServer:
    """A Git server that sends a signed webhook to the control plane for each push, like a Git host."""

    def on_push(repository: str) -> None:
        state.send_push_webhook(f"http://127.0.0.1:{ports.console}", git.url(repository))

    git = GitServer(state.folder / "git", port=ports.git, on_push=on_push)
    return git


def _inbox(state: State, ports: Ports) -> Inbox:
    console = f"http://localhost:{ports.console}"
    return Inbox(state.folder / "inbox.json", state.inbox_key(), console=console, port=ports.inbox)


async def _register_agent(state: State, ports: Ports, git: GitServer, console: Console) -> None:
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
    applications = {**state.demo.applications, **(demos.AWS.applications if state.with_aws else {})}
    for name, kind in applications.items():
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


def _control_plane(state: State, ports: Ports) -> Program:
    command = [
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
    return Program(name="control plane", command=command, log=state.log("server"))


def _agent(state: State, ports: Ports) -> Program:
    command = [
        *_python(),
        "piped",
        f"--config-file={state.folder / 'piped.yaml'}",
        "--insecure",
        f"--admin-port={ports.agent_admin}",
        f"--home-dir={state.folder / 'agent'}",
    ]
    environment = aws_emulator.environment(ports.aws) if state.with_aws else {}
    if state.cluster:
        environment["PATH"] = demo_cluster.tools_path()
    return Program(name="agent", command=command, log=state.log("piped"), environment=environment)


def _emulated_aws(state: State, ports: Ports) -> Program:
    return Program(
        name="emulated AWS",
        command=aws_emulator.command(ports.aws),
        log=state.log("aws"),
        environment=aws_emulator.SERVER_ENVIRONMENT,
        keeps_state=False,
    )


def _emulated_google(state: State, ports: Ports) -> Program:
    return Program(
        name="emulated Google Cloud",
        command=google_emulator.command(ports.google, state.google_file),
        log=state.log("google"),
    )


async def _start_cluster(
    cluster: DemoCluster, state: State, ports: Ports, start: Callable[[Program], None]
) -> None:
    start(Program(name="simulated cluster", command=cluster.command(ports), log=state.log("cluster")))
    async with _ready_timeout(
        f"the simulated cluster is not ready after {READY_TIMEOUT:.0f} s", state.log("cluster")
    ):
        await poll_until(lambda: demo_cluster.is_ready(cluster))


def _python() -> list[str]:
    return [sys.executable, "-m", "pipecd"]


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

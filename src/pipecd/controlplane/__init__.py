"""The control plane: holds projects, agents, applications, deployments and logs; serves all who ask.

`serving` is the whole of it: the store, the doors, the jobs, under one TaskGroup. `run` is that until a
signal; the quickstart and the tests use `serving` itself.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.types import ASGIApp

from pipecd.config.controlplane import ControlPlaneSpec, database_url
from pipecd.controlplane import jobs
from pipecd.controlplane.auth.credential_cache import Credentials
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.sessions import Sessions
from pipecd.controlplane.http import admin
from pipecd.controlplane.http.app import application
from pipecd.controlplane.http.login import Login
from pipecd.controlplane.http.server import open_port
from pipecd.controlplane.http.server import serving as http_serving
from pipecd.controlplane.http.webhooks import Webhooks
from pipecd.controlplane.rpc import grpc_door
from pipecd.controlplane.rpc.connect_door import ConsoleApplication
from pipecd.controlplane.rpc.grpc_door import Tls
from pipecd.controlplane.rpc.table import CONSOLE, WEB, methods
from pipecd.controlplane.rpc.watch import Hints
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import open_blobs
from pipecd.controlplane.store.stage_logs import StageLogs
from pipecd.errors import PipecdError
from pipecd.telemetry import Health

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. Port 0 takes any free port."""

    encryption_key: bytes
    host: str = "0.0.0.0"
    grpc_ports: tuple[int, ...] = (9080,)
    http_port: int = 9082
    admin_port: int = 9085
    tls: Tls | None = None
    static_dir: Path | None = None
    #: Let the session cookie travel over plain HTTP.
    insecure_cookie: bool = False
    #: How long calls under way may take once a stop was asked for (seconds).
    grace: float = 5.0
    #: Whether this process also does the jobs of `pipecd ops`.
    with_jobs: bool = True
    #: What the console's first page shows to a newcomer.
    newcomer: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where it listens, in the order of `Options.grpc_ports`."""

    grpc: tuple[int, ...]
    http: int
    admin: int


@dataclass(frozen=True, kw_only=True)
class Served:
    ports: Ports
    plane: Plane


@asynccontextmanager
async def opened(spec: ControlPlaneSpec, encryption_key: bytes) -> AsyncGenerator[Plane]:
    """The store and the objects, brought up to date. Raises ConfigError or Temporary."""
    sessions = Sessions(encryption_key)
    blobs = open_blobs(spec)
    store = await Store.open(database_url(spec))
    try:
        yield Plane(
            store=store,
            blobs=blobs,
            logs=StageLogs(store, blobs),
            projects=Projects(store, spec.projects),
            sessions=sessions,
            credentials=Credentials(store),
            address=spec.address.rstrip("/"),
        )
    finally:
        await store.close()


@asynccontextmanager
async def serving(spec: ControlPlaneSpec, options: Options) -> AsyncGenerator[Served]:
    """The control plane, serving while the block runs."""
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(opened(spec, options.encryption_key))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [tasks.create_task(plane.store.feed.run(), name="change feed")]
        if options.with_jobs:
            background.append(tasks.create_task(jobs.keep(plane), name="jobs"))
        stack.callback(_cancel, background)
        door = grpc_door.server(plane, methods())
        ports = tuple(
            grpc_door.listen(door, f"{_bracketed(options.host)}:{port}", options.tls)
            for port in options.grpc_ports
        )
        web = open_port(options.host, options.http_port, "the console (--http-port)")
        stack.callback(web.close)
        admin_port = open_port(options.host, options.admin_port, "the admin port (--admin-port)")
        stack.callback(admin_port.close)
        await stack.enter_async_context(http_serving(admin.application(_health(plane)), admin_port))
        await stack.enter_async_context(http_serving(_site(spec, options, plane), web))
        await door.start()
        stack.push_async_callback(door.stop, options.grace)
        yield Served(
            plane=plane,
            ports=Ports(grpc=ports, http=web.getsockname()[1], admin=admin_port.getsockname()[1]),
        )


async def run(
    spec: ControlPlaneSpec, options: Options, ready: Callable[[Ports], None] = lambda ports: None
) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = _stop_on_signals()
    async with serving(spec, options) as served:
        log.info("control plane is ready", grpc=served.ports.grpc, http=served.ports.http)
        ready(served.ports)
        await stop.wait()
        log.info("control plane stops")


async def run_jobs(spec: ControlPlaneSpec, options: Options) -> None:
    """Only the jobs and the admin port, until a signal: `pipecd ops`."""
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(opened(spec, options.encryption_key))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(_cancel, [tasks.create_task(jobs.keep(plane), name="jobs")])
        sock = open_port(options.host, options.admin_port, "the admin port (--admin-port)")
        stack.callback(sock.close)
        await stack.enter_async_context(http_serving(admin.application(_health(plane)), sock))
        await stop.wait()


def _site(spec: ControlPlaneSpec, options: Options, plane: Plane) -> ASGIApp:
    secrets: dict[str, list[bytes]] = {}
    for source in spec.webhooks:
        secrets.setdefault(source.provider.lower(), []).append(source.read().encode())
    return application(
        api=ConsoleApplication(plane, methods((WEB, CONSOLE))),
        login=Login(plane.projects, plane.sessions, insecure_cookie=options.insecure_cookie),
        webhooks=Webhooks(secrets, Hints(plane.store)),
        static_dir=options.static_dir,
        https=not options.insecure_cookie,
        newcomer=options.newcomer,
    )


def _health(plane: Plane) -> Health:
    async def wrong() -> str:
        try:
            async with asyncio.timeout(5):
                await plane.store.healthy()
        except (PipecdError, TimeoutError) as error:
            return str(error) or "the database does not answer"
        return ""

    return wrong


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

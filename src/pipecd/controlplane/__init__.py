"""The control plane: stores projects, agents, applications, deployments and logs, and serves their APIs.

`serving` starts all of it under one TaskGroup: the store, the gRPC and HTTP servers, and the jobs. `run`
serves until SIGINT or SIGTERM; the quickstart and the tests use `serving` directly.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from starlette.types import ASGIApp

from pipecd.clock import SYSTEM_CLOCK, Clock, timeout
from pipecd.config.controlplane import ControlPlaneSpec, database_url
from pipecd.controlplane import jobs
from pipecd.controlplane.agent_requests import AgentRequests, Replicas
from pipecd.controlplane.auth.call_limits import CallLimits
from pipecd.controlplane.auth.client_address import TrustedProxies
from pipecd.controlplane.auth.credential_cache import CredentialCache
from pipecd.controlplane.auth.group_checks import GroupChecks
from pipecd.controlplane.auth.keys import KeyLifetimes
from pipecd.controlplane.auth.known_browsers import KnownBrowsers
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.refusals import Refusals
from pipecd.controlplane.auth.sessions import Lifetimes, Sessions, check_key
from pipecd.controlplane.auth.sso.flow import SingleSignOn
from pipecd.controlplane.endpoint import determine_endpoint
from pipecd.controlplane.http import admin
from pipecd.controlplane.http.app import application
from pipecd.controlplane.http.connections import Connections, raise_file_limit
from pipecd.controlplane.http.login import Login
from pipecd.controlplane.http.metrics import CountRequests
from pipecd.controlplane.http.server import open_port
from pipecd.controlplane.http.server import serving as http_serving
from pipecd.controlplane.http.throttle import Throttle
from pipecd.controlplane.http.webhooks import Webhooks
from pipecd.controlplane.notifications.receivers import ProjectReceivers
from pipecd.controlplane.records.insights import Insights
from pipecd.controlplane.records.metrics import Metrics
from pipecd.controlplane.relay import Relay
from pipecd.controlplane.rpc import grpc_connections, grpc_server, otlp
from pipecd.controlplane.rpc.connect_server import ConsoleApplication
from pipecd.controlplane.rpc.grpc_server import Tls
from pipecd.controlplane.rpc.table import CONSOLE, WEB, methods
from pipecd.controlplane.rpc.watch import RepositoryNotifier
from pipecd.controlplane.services import Services
from pipecd.controlplane.settings import Settings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import open_blobs
from pipecd.controlplane.store.stage_logs import StageLogs
from pipecd.errors import PipecdError
from pipecd.model.actor import Actor, ActorKind
from pipecd.notify.network import Network
from pipecd.stop_signals import call_at_stop_signal
from pipecd.telemetry import Health
from pipecd.trace_export import exporting
from pipecd.trace_export.collector import check_installed, connected
from pipecd.trace_export.queue import ExportQueue
from pipecd.watchdog import Watchdog

log = structlog.get_logger()

#: Actor of changes that take effect when the control plane starts.
STARTING = Actor(kind=ActorKind.OPERATOR, id="operator", name="operator", action="start")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Command-line options. Port 0 selects any free port."""

    encryption_key: bytes
    host: str = "0.0.0.0"
    grpc_ports: tuple[int, ...] = (9080,)
    http_port: int = 9082
    admin_port: int = 9085
    tls: Tls | None = None
    static_dir: Path | None = None
    #: Allow the session cookie over plain HTTP.
    insecure_cookie: bool = False
    #: How long in-flight gRPC calls may run after shutdown begins, in seconds.
    grace_period: float = 5.0
    #: Whether this process also runs the jobs of `pipecd ops`.
    with_jobs: bool = True
    #: Getting-started content of the console's first page (quickstart only).
    newcomer: Mapping[str, object] | None = None
    #: Not on the command line; for tests.
    clock: Clock = SYSTEM_CLOCK
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports in use; `grpc` is in the order of `Options.grpc_ports`."""

    grpc: tuple[int, ...]
    http: int
    admin: int


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    ports: Ports
    services: Services


@asynccontextmanager
async def open_services(
    spec: ControlPlaneSpec, options: Options, traces: ExportQueue | None = None
) -> AsyncGenerator[Services]:
    """Open the object store and the database, and migrate its schema. Raises ConfigError or Temporary."""
    clock, settings = options.clock, options.settings
    check_key(options.encryption_key)
    blobs = open_blobs(spec, options.settings.object_store)
    store = await Store.open(database_url(spec), clock, settings.store)
    try:
        credentials = CredentialCache(store, clock, settings.auth)
        projects = Projects(
            store, credentials, spec.projects, spec.shared_sso_configs, options.encryption_key
        )
        await projects.record_configured(by=STARTING)
        address = spec.address.rstrip("/")
        sessions = Sessions(
            options.encryption_key,
            store,
            clock,
            settings.auth,
            Lifetimes(
                absolute=int(spec.sessions.lifetime.total_seconds()),
                idle=int(spec.sessions.idle_timeout.total_seconds()),
                groups_check=int(spec.sessions.groups_check_interval.total_seconds()),
                groups_max_age=int(spec.sessions.groups_max_age.total_seconds()),
            ),
        )
        sso = SingleSignOn(projects, options.encryption_key, clock, settings.auth, address=address)
        replicas = None
        if not store.database.sqlite:
            replicas = Replicas(relay=Relay(store, clock, settings.relay), store=store)
        yield Services(
            store=store,
            blobs=blobs,
            logs=StageLogs(store, blobs, settings.stage_logs),
            projects=projects,
            sessions=sessions,
            sso=sso,
            group_checks=GroupChecks(sessions, sso, clock, settings.auth),
            credentials=credentials,
            clock=clock,
            settings=settings,
            agent_requests=AgentRequests(clock, settings.agent_requests, replicas),
            insights=Insights(store),
            call_limits=CallLimits(settings.calls),
            traces=traces,
            refusals=Refusals(store, clock, settings.auth),
            receivers=ProjectReceivers(
                projects,
                {project.id: project.notifications.receivers for project in spec.projects},
                Network(allowed=tuple(spec.notifications.allowed_networks)),
                store,
                options.encryption_key,
                clock,
            ),
            proxies=TrustedProxies(spec.trusted_proxies),
            key_lifetimes=KeyLifetimes(
                api_key=int(spec.keys.max_api_key_lifetime.total_seconds()),
                piped_key=int(spec.keys.max_piped_key_lifetime.total_seconds()),
            ),
            audit_retention=spec.audit.retention.total_seconds(),
            address=address,
            endpoint=determine_endpoint(spec, options.grpc_ports[0], tls=options.tls is not None),
        )
    finally:
        await store.close()


@asynccontextmanager
async def serving(spec: ControlPlaneSpec, options: Options) -> AsyncGenerator[RunningServer]:
    """Run the control plane while the block runs."""
    async with AsyncExitStack() as stack:
        watchdog = Watchdog()
        await stack.enter_async_context(watchdog.watching())
        traces = await stack.enter_async_context(_exporting_traces(spec, options))
        services = await stack.enter_async_context(open_services(spec, options, traces))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [
            tasks.create_task(services.store.feed.run(), name="change feed"),
            tasks.create_task(services.agent_requests.run(), name="messages of replicas"),
            tasks.create_task(services.refusals.run(), name="refusals"),
            tasks.create_task(services.group_checks.run(), name="group checks"),
            tasks.create_task(_check_object_store(services), name="object store"),
        ]
        if options.with_jobs:
            background.append(tasks.create_task(jobs.run_all(services), name="jobs"))
        stack.callback(_cancel, background)
        grpc = grpc_server.create_server(services, {**methods(), **otlp.METHODS})
        grpc_ports = tuple(
            grpc_server.listen(grpc, f"{_bracket_ipv6(options.host)}:{port}", options.tls)
            for port in options.grpc_ports
        )
        http_socket = open_port(options.host, options.http_port, "the console (--http-port)")
        stack.callback(http_socket.close)
        admin_socket = open_port(options.host, options.admin_port, "the admin port (--admin-port)")
        stack.callback(admin_socket.close)
        await stack.enter_async_context(
            http_serving(
                admin.application(_health(services), watchdog, Metrics(services)),
                admin_socket,
                _connections(services),
            )
        )
        await stack.enter_async_context(
            http_serving(_http_application(spec, options, services), http_socket, _connections(services))
        )
        limit = grpc_connections.ConnectionLimit(
            grpc_ports, services.settings.connections, services.proxies.is_proxy, options.clock
        )
        background.append(tasks.create_task(limit.run(), name="connections of gRPC"))
        await grpc.start()
        stack.push_async_callback(grpc.stop, options.grace_period)
        yield RunningServer(
            services=services,
            ports=Ports(
                grpc=grpc_ports, http=http_socket.getsockname()[1], admin=admin_socket.getsockname()[1]
            ),
        )


async def _check_object_store(services: Services) -> None:
    """Log why objects cannot be read. It does not stop the server: the store may be back in a moment."""
    if problem := await services.blobs.problem():
        log.error("object_store_unusable", error=problem, remedy="check `filestore` in the configuration")


async def run(
    spec: ControlPlaneSpec, options: Options, ready: Callable[[Ports], None] = lambda ports: None
) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = _stop_on_signals()
    raise_file_limit()
    async with serving(spec, options) as server:
        log.info("control_plane_ready", grpc=server.ports.grpc, http=server.ports.http)
        ready(server.ports)
        await stop.wait()
        log.info("control_plane_stopping")


@asynccontextmanager
async def _exporting_traces(spec: ControlPlaneSpec, options: Options) -> AsyncGenerator[ExportQueue | None]:
    """Export spans while the block runs, if a collector is configured. Yields what is to be sent."""
    collector = spec.tracing.collector()
    if collector is None:
        yield None
        return
    check_installed()
    queue = ExportQueue(options.clock)
    async with (
        connected(collector) as send,
        exporting("pipecd-control-plane", {}, queue, send, options.clock),
    ):
        log.info("traces_exported", endpoint=collector.endpoint, protocol=collector.protocol)
        yield queue


async def run_jobs(spec: ControlPlaneSpec, options: Options) -> None:
    """`pipecd ops`: run only the jobs and the admin port, until SIGINT or SIGTERM."""
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        watchdog = Watchdog()
        await stack.enter_async_context(watchdog.watching())
        services = await stack.enter_async_context(open_services(spec, options))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        background = [
            tasks.create_task(services.store.feed.run(), name="change feed"),
            tasks.create_task(jobs.run_all(services), name="jobs"),
        ]
        stack.callback(_cancel, background)
        admin_socket = open_port(options.host, options.admin_port, "the admin port (--admin-port)")
        stack.callback(admin_socket.close)
        await stack.enter_async_context(
            http_serving(
                admin.application(_health(services), watchdog, Metrics(services), with_agents=True),
                admin_socket,
                _connections(services),
            )
        )
        await stop.wait()


def _http_application(spec: ControlPlaneSpec, options: Options, services: Services) -> ASGIApp:
    secrets: dict[str, list[bytes]] = {}
    for index, source in enumerate(spec.webhooks):
        secret = source.read(f"spec.webhooks[{index}]")
        secrets.setdefault(source.provider.lower(), []).append(secret.encode())
    served = methods((WEB, CONSOLE))
    app = application(
        api=ConsoleApplication(services, served),
        login=Login(
            services.projects,
            services.sessions,
            services.proxies,
            Throttle(services.store.database, options.encryption_key, services.clock, services.settings.auth),
            services.refusals,
            services.sso,
            KnownBrowsers(options.encryption_key, services.clock),
            insecure_cookie=options.insecure_cookie,
        ),
        webhooks=Webhooks(secrets, RepositoryNotifier(services.store), services.proxies),
        static_dir=options.static_dir,
        https=not options.insecure_cookie,
        address=services.address,
        newcomer=options.newcomer,
    )
    return CountRequests(app, served, services.clock)


def _connections(services: Services) -> Connections:
    return Connections(services.settings.connections, services.proxies.is_proxy)


def _health(services: Services) -> Health:
    async def problem() -> str:
        try:
            async with timeout(services.clock, 5):
                await services.store.check_health()
        except (PipecdError, TimeoutError) as error:
            return str(error) or "the database does not respond"
        return ""

    return problem


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    call_at_stop_signal(lambda _: stop.set())
    return stop


def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host

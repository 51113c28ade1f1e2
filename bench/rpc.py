"""What the calls of agents cost: rate, duration, and CPU time of the control plane, with both databases.

The control plane runs as one process with everything switched on: authentication, leases, change feed, audit
log, metrics and jobs. The callers, each with the credential of another agent in turn, run in this process and
share the cores with the control plane and the database: see `bench.callers`.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from grpc import aio

from bench import callers
from bench.callers import Call, MakeCall, Results
from bench.figures import report, report_value
from bench.records import application, finished_deployment, insert, stages
from pipecd.config import controlplane as config
from pipecd.controlplane.auth import keys
from pipecd.controlplane.rpc.grpc_server import INSTANCE_METADATA_KEY
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.schema.agent.applications_pb2 import ListApplicationsRequest
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest
from pipecd.schema.agent.deployments_pb2 import (
    GetDeploymentRequest,
    ListNotCompletedDeploymentsRequest,
    ReportStageStatusChangedRequest,
)
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.agent.service_pb2_grpc import PipedServiceStub
from pipecd.schema.api.deployments_pb2 import ListDeploymentsRequest
from pipecd.schema.api.service_pb2_grpc import APIServiceStub
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.contracts import postgres
from tests.controlplane.server_fixture import PROJECT
from tests.faults.processes import server_arguments, write_configuration
from tests.ports import free_ports

#: How long each call is measured, and made before it is measured, in seconds.
DURATION, WARM_UP = 4.0, 0.5
CALLERS = 16
#: Each agent has so many applications and running deployments, and one unhandled command.
AGENTS, APPLICATIONS, RUNNING = 1000, 20, 3
FINISHED = 100_000
INSTANCE = "bench"
#: Minimum rates (calls/s), maximum CPU time of a call that reads (ms), maximum median of a page (ms).
READ_RATE, WRITE_RATE, READ_CPU, PAGE_MEDIAN = 2000, 1000, 0.8, 3.0
#: Modules that run the control plane as `pipecd` does.
WITH_AUDIT, WITHOUT_AUDIT = "pipecd", "bench.unaudited"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Credentials of the agents, in their order, and of a program."""

    credentials: Sequence[str]
    api_key: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Server:
    address: str
    #: Of the console.
    url: str
    process: psutil.Process
    prepared: Prepared

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def make(self, method: str) -> MakeCall:
        """Calls of the method by all agents in turn."""
        path, (request, _) = f"/grpc.service.pipedservice.PipedService/{method}", CALLS[method]
        heads = [
            callers.prepare(path, (("authorization", credential), (INSTANCE_METADATA_KEY, INSTANCE)))
            for credential in self.prepared.credentials
        ]
        return lambda number: Call(heads[number % AGENTS], request(number).SerializeToString())

    async def repeat(self, make: MakeCall, count: int, duration: float, first: int = 0) -> Results:
        """`count` callers for `duration` seconds, beginning with call number `first`."""
        host, port = self.address.split(":")
        return await callers.repeat(host, int(port), make, callers=count, duration=duration, first=first)


async def run(folder: Path) -> None:
    with databases(folder) as datastores:
        for name, datastore in datastores.items():
            prepared = await prepare(folder, datastore)
            async with serving(folder, prepared) as server:
                await _measure(name, server)


@contextmanager
def databases(folder: Path) -> Iterator[Mapping[str, Mapping[str, Any] | None]]:
    """Configuration of the databases that this machine has, by name."""
    if postgres.binary("initdb") is None:
        yield {"SQLite": None}
        return
    with tempfile.TemporaryDirectory(prefix="pipecd-pg-") as cluster, postgres.cluster(Path(cluster)) as url:
        user = folder / "user"
        user.write_text("postgres")
        # The cluster listens on a socket only, which is a parameter of the URL.
        database = url.rpartition("/postgres?")[2]
        options = {"url": "postgresql:///", "database": f"postgres?{database}", "usernameFile": str(user)}
        yield {"SQLite": None, "PostgreSQL": {"type": "POSTGRESQL", "config": options}}


def database_cpu_seconds(datastore: Mapping[str, Any] | None) -> float:
    """CPU time of PostgreSQL; that of SQLite is the control plane's."""
    if datastore is None:
        return 0.0
    sockets = Path(datastore["config"]["database"].rpartition("host=")[2])
    return postgres.cpu_seconds(sockets.parent)


async def analyze(store: Store) -> None:
    """PostgreSQL would do it by itself, beside the first calls, which it would execute without statistics."""
    if not store.database.sqlite:
        await store.database.read(lambda connection: connection.execute(sa.text("VACUUM (ANALYZE)"), {}))


async def prepare(folder: Path, datastore: Mapping[str, Any] | None, finished: int = FINISHED) -> Prepared:
    """Insert the records, and write the control plane's configuration."""
    file = write_configuration(folder, "http://127.0.0.1", datastore)
    piped_key, (key_id, api_key) = keys.new_piped_key(), keys.new_api_key()
    store = await Store.open(config.database_url(config.load(file.read_text(), file.name)))
    await _insert_records(store, piped_key, key_id, api_key, finished)
    await analyze(store)
    await store.close()
    credentials = [f"PIPED-TOKEN {PROJECT},p{n},{piped_key}" for n in range(AGENTS)]
    return Prepared(credentials=credentials, api_key=api_key)


@asynccontextmanager
async def serving(folder: Path, prepared: Prepared, program: str = WITH_AUDIT) -> AsyncIterator[Server]:
    """A control plane with the records of `prepare`, also several at a time."""
    api, http = free_ports(2)
    with (folder / "server.log").open("ab") as log:
        arguments = server_arguments(folder, api, http)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", program, *arguments), stdout=log, stderr=log
        )
    try:
        async with aio.insecure_channel(f"127.0.0.1:{api}") as channel:
            await _await_start(PipedServiceStub(channel), prepared.credentials[0])
        yield Server(
            address=f"127.0.0.1:{api}",
            url=f"http://127.0.0.1:{http}",
            process=psutil.Process(process.pid),
            prepared=prepared,
        )
    finally:
        process.kill()
        await process.wait()


async def _measure(name: str, server: Server) -> None:
    print(f"{name}: load of the machine before {os.getloadavg()[0]:.1f}", flush=True)
    for method, (_, rate) in CALLS.items():
        await _measure_call(f"{name}: {method}", server, server.make(method), rate)
    async with aio.insecure_channel(server.address) as channel:
        await _measure_page(name, server, channel)
    print(f"{name}: load of the machine after {os.getloadavg()[0]:.1f}", flush=True)


async def _measure_call(name: str, server: Server, make: MakeCall, rate: float) -> None:
    warm_up = await server.repeat(make, CALLERS, WARM_UP)
    cpu = server.cpu_seconds()
    results = await server.repeat(make, CALLERS, DURATION, len(warm_up.durations))
    cpu, count = server.cpu_seconds() - cpu, len(results.durations)
    report_value(f"{name} ({CALLERS} at a time)", count / results.seconds, "/s", minimum=rate)
    report("… duration of each", results.durations, "ms")
    maximum = READ_CPU if rate == READ_RATE else None
    report_value("… CPU of the control plane for each", cpu / count * 1000, "ms", maximum=maximum, digits=3)
    report_value("… CPU of the callers for each", results.cpu / count * 1000, "ms", digits=3)


async def _measure_page(name: str, server: Server, channel: aio.Channel) -> None:
    stub = APIServiceStub(channel)
    metadata = (("authorization", f"API-KEY {server.prepared.api_key}"),)
    times: list[float] = []
    for warm_up in (True, False):
        cpu, started = server.cpu_seconds(), time.monotonic()
        until = started + (WARM_UP if warm_up else DURATION)
        times.clear()
        while (before := time.monotonic()) < until:
            await stub.ListDeployments(ListDeploymentsRequest(limit=50), metadata=metadata)
            times.append((time.monotonic() - before) * 1000)
    report(f"{name}: first page of {FINISHED} deployments", times, "ms")
    report_value("… median", statistics.median(times), "ms", maximum=PAGE_MEDIAN, digits=3)
    cpu = server.cpu_seconds() - cpu
    report_value("… CPU of the control plane for each", cpu / len(times) * 1000, "ms", digits=3)


def _stage_status(number: int) -> ReportStageStatusChangedRequest:
    deployment_id, stage = _deployment_of(number), number // AGENTS % 5
    return ReportStageStatusChangedRequest(
        deployment_id=deployment_id,
        stage_id=f"stage-{stage}",
        status=StageStatus.STAGE_RUNNING,
        status_reason=f"report {number}",
        completed_at=1,
        visible=True,
    )


def _stage_log(number: int) -> ReportStageLogsRequest:
    text = "Apply complete! Resources: 1 added, 0 changed, 0 destroyed."
    blocks = [LogBlock(index=number * 5 + line, log=text, created_at=1) for line in range(5)]
    return ReportStageLogsRequest(deployment_id=_deployment_of(number), stage_id="stage-0", blocks=blocks)


def _deployment_of(number: int) -> str:
    agent = number % AGENTS
    return f"r{agent * RUNNING + number // AGENTS % RUNNING}"


#: Method → request for the n-th call, and the minimum rate.
CALLS: Mapping[str, tuple[Callable[[int], Any], float]] = {
    "ListUnhandledCommands": (lambda _: ListUnhandledCommandsRequest(), READ_RATE),
    "ListNotCompletedDeployments": (lambda _: ListNotCompletedDeploymentsRequest(), READ_RATE),
    "ListApplications": (lambda _: ListApplicationsRequest(), READ_RATE),
    "GetDeployment": (lambda number: GetDeploymentRequest(id=_deployment_of(number)), READ_RATE),
    "ReportStageStatusChanged": (_stage_status, WRITE_RATE),
    "ReportStageLogs": (_stage_log, WRITE_RATE),
}


async def _insert_records(store: Store, piped_key: str, key_id: str, api_key: str, finished: int) -> None:
    piped_keys = [PipedKey(hash=keys.hash_key(piped_key))]
    pipeds = [Piped(id=f"p{n}", name=f"p{n}", project_id=PROJECT, keys=piped_keys) for n in range(AGENTS)]
    await insert(store, pipeds)
    program = APIKey(id=key_id, project_id=PROJECT, key_hash=keys.hash_key(api_key), role=APIKey.READ_ONLY)
    await insert(store, [program])
    count = AGENTS * APPLICATIONS
    await insert(store, [application(n, f"p{n // APPLICATIONS}") for n in range(count)])
    await insert(store, [finished_deployment(n, count) for n in range(finished)])
    await insert(store, [_running_deployment(n) for n in range(AGENTS * RUNNING)])
    sync = Command.SyncApplication(application_id="a0")
    commands = [
        Command(id=f"c{n}", project_id=PROJECT, piped_id=f"p{n}", sync_application=sync)
        for n in range(AGENTS)
    ]
    now = int(time.time())
    for command in commands:
        command.created_at = now
    await insert(store, commands)
    for n in range(AGENTS):
        await store.leases.acquire(piped_lease_name(f"p{n}"), INSTANCE, 3600)


def _running_deployment(number: int) -> Deployment:
    agent, turn = divmod(number, RUNNING)
    return Deployment(
        id=f"r{number}",
        application_id=f"a{agent * APPLICATIONS + turn}",
        project_id=PROJECT,
        piped_id=f"p{agent}",
        status=DeploymentStatus.DEPLOYMENT_RUNNING,
        stages=stages(5, status=StageStatus.STAGE_RUNNING),
    )


async def _await_start(stub: PipedServiceStub, credential: str) -> None:
    request, metadata = ListUnhandledCommandsRequest(), (("authorization", credential),)
    call: Awaitable[object] = stub.ListUnhandledCommands(  # type: ignore[assignment]
        request, metadata=metadata, wait_for_ready=True, timeout=60
    )
    await call

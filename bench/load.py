"""The control plane under the load of many agents: CPU time, memory, notices, and first pages of users.

Every agent has a stream, sends heartbeats, reads its lists and reports a sync state every minute, and deploys
every five minutes. A user whose role is limited by a label reads first pages, also while another user sends
32 searches at a time. Variables of the environment choose the size: BENCH_AGENTS (200), BENCH_APPLICATIONS
(10,000) and BENCH_SECONDS (60); BENCH_DATABASES the databases (SQLite,PostgreSQL).

Callers and database share the cores with the control plane: their CPU time says whether they are the limit.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from grpc import aio

from bench import rpc
from bench.figures import percentile_95, report, report_value
from bench.records import application, finished_deployment, insert
from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import controlplane as config
from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.sessions import Session, Sessions
from pipecd.controlplane.settings import AuthSettings
from pipecd.controlplane.store import Store
from pipecd.piped.session import heartbeat
from pipecd.schema.agent.applications_pb2 import ListApplicationsRequest, ReportApplicationSyncStateRequest
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest, ReportCommandHandledRequest
from pipecd.schema.agent.deployments_pb2 import (
    CreateDeploymentRequest,
    ListNotCompletedDeploymentsRequest,
    ReportDeploymentCompletedRequest,
    ReportDeploymentPlannedRequest,
    ReportStageStatusChangedRequest,
)
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.application_pb2 import ApplicationSyncState, ApplicationSyncStatus
from pipecd.schema.model.command_pb2 import CommandStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.piped_pb2 import Piped, PipedKey
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import StageStatus
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, BeatRequest
from tests.actors import TESTER
from tests.controlplane.server_fixture import ENCRYPTION_KEY, PROJECT, CallFailed, Console
from tests.controlplane.test_agents import Agent
from tests.controlplane.test_agents import deployment as new_deployment
from tests.faults.processes import write_configuration

AGENTS = int(os.environ.get("BENCH_AGENTS", "200"))
APPLICATIONS = int(os.environ.get("BENCH_APPLICATIONS", "10000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
DATABASES = os.environ.get("BENCH_DATABASES", "SQLite,PostgreSQL").split(",")
#: Finished deployments at the beginning.
FINISHED = 100_000
#: Seconds between what an agent does.
LIST_INTERVAL, SYNC_STATE_INTERVAL, DEPLOY_INTERVAL = 60.0, 60.0, 300.0
#: Searches that one user sends at the same time, and how long (seconds).
SEARCHES, FLOOD = 32, 10.0
#: Maxima: of memory in MB, of a notice and of a page in ms.
MEMORY, NOTICE, PAGE = 1024.0, 1000.0, 200.0
#: Channels that the agents share: each connection costs the machine of the callers as much as the server.
_CHANNELS = 50
#: Otherwise the channels of a process to one address share a connection.
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@dataclass
class _Load:
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    #: Application → when a sync of it was requested.
    requested: dict[str, float] = field(default_factory=dict)
    notices: list[float] = field(default_factory=list)
    #: Method → how long its calls took, in ms.
    durations: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    deployed: int = 0
    #: Agents that had a stream with the lease.
    streams: int = 0
    all_granted: asyncio.Event = field(default_factory=asyncio.Event)


async def run(folder: Path) -> None:
    with rpc.databases(folder) as datastores:
        for name, datastore in datastores.items():
            if name not in DATABASES:
                continue
            file = write_configuration(folder, "http://127.0.0.1", datastore)
            # The project is one of the database, which has a role of its own.
            document = json.loads(file.read_text())
            document["spec"]["projects"] = []
            file.write_text(json.dumps(document))
            piped_key = keys.new_piped_key()
            store = await Store.open(config.database_url(config.load(file.read_text(), file.name)))
            await _insert_records(store, piped_key)
            await rpc.analyze(store)
            sessions = Sessions(ENCRYPTION_KEY, store, SYSTEM_CLOCK, AuthSettings())
            tokens = [
                await sessions.start(Session(project_id=PROJECT, username=user, roles=(role,)), by=TESTER)
                for user, role in (("admin", "Admin"), ("restricted", "team-1"), ("viewer", "Viewer"))
            ]
            prepared = rpc.Prepared(
                credentials=[f"PIPED-TOKEN {PROJECT},p{n},{piped_key}" for n in range(AGENTS)], api_key=""
            )
            async with rpc.serving(folder, prepared) as server:
                await _measure(name, datastore, server, piped_key, tokens)
            await store.close()


async def _measure(
    name: str,
    datastore: Mapping[str, Any] | None,
    server: rpc.Server,
    piped_key: str,
    tokens: Sequence[str],
) -> None:
    title = f"{name}, {AGENTS} agents, {APPLICATIONS} applications"
    load = _Load()
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(aio.insecure_channel(server.address, _OWN_CONNECTION))
            for _ in range(_CHANNELS)
        ]
        users = [Console(server.url) for _ in tokens]
        for user, token in zip(users, tokens, strict=True):
            await stack.enter_async_context(user.http)
            user.http.cookies.set("token", token)
        admin, restricted, viewer = users
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        agents = [
            tasks.create_task(_run_agent(load, Agent(channels[n % _CHANNELS], f"p{n}", piped_key, "one"), n))
            for n in range(AGENTS)
        ]
        agents.append(tasks.create_task(_request_syncs(load, admin)))
        started = time.monotonic()
        await load.all_granted.wait()
        set_up = time.monotonic() - started
        memory = _Memory(server.process)
        agents.append(tasks.create_task(memory.observe()))
        load.durations.clear()
        cpu, started, before = server.cpu_seconds(), time.monotonic(), load.calls.total()
        of_callers, of_database = time.process_time(), rpc.database_cpu_seconds(datastore)
        pages = await _read_pages(restricted, SECONDS - FLOOD)
        seconds = time.monotonic() - started
        of_callers = time.process_time() - of_callers
        of_database = rpc.database_cpu_seconds(datastore) - of_database
        cpu, calls = server.cpu_seconds() - cpu, load.calls.total() - before
        flood = [tasks.create_task(_search(viewer, time.monotonic() + FLOOD)) for _ in range(SEARCHES)]
        slowed = await _read_pages(restricted, FLOOD)
        await asyncio.gather(*flood)
        for task in agents:
            task.cancel()
    report_value(f"{title}: until all streams are set up", set_up, "s")
    report_value(f"{title}: calls of agents", calls / seconds, "/s")
    report_value(f"{title}: CPU of the control plane", cpu / seconds * 100, "%")
    report_value("… for each call, with streams and pages", cpu / calls * 1000, "ms", digits=2)
    report_value(f"{title}: CPU of the callers", of_callers / seconds * 100, "%")
    report_value(f"{title}: CPU of the database", of_database / seconds * 100, "%")
    report_value(f"{title}: memory of the control plane", memory.largest, "MB", maximum=MEMORY)
    for method, durations in sorted(load.durations.items()):
        report(f"… duration of {method}", durations, "ms")
    report(f"{title}: sync requested → agent has the command", load.notices, "ms", target=NOTICE)
    for page, times in pages.items():
        report(f"{title}: first page of {page}, with a role limited by a label", times, "ms", target=PAGE)
    for page, times in slowed.items():
        report(f"{title}: … of {page}, while another user searches", times, "ms")
        ratio = percentile_95(times) / percentile_95(pages[page])
        report_value("… 95th percentile, compared with before", ratio, "times")
    report_value(f"{title}: deployments meanwhile", load.deployed, "")
    report_value(f"{title}: failed calls {dict(load.failed) or ''}", load.failed.total(), "", maximum=0)


class _Memory:
    def __init__(self, process: psutil.Process) -> None:
        self._process, self.largest = process, 0.0

    async def observe(self) -> None:
        while True:
            self.largest = max(self.largest, self._process.memory_info().rss / 2**20)
            await asyncio.sleep(0.5)


async def _run_agent(load: _Load, agent: Agent, number: int) -> None:
    async def call(method: str, request: Any) -> Any:
        load.calls[method] += 1
        started = time.monotonic()
        try:
            response = await agent.call(method, request)
            load.durations[method].append((time.monotonic() - started) * 1000)
            return response
        except aio.AioRpcError as error:
            load.failed[f"{method} {error.code().name}"] += 1
            return None

    async def every(interval: float, act: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(random.uniform(0, interval))
        while True:
            await act()
            await asyncio.sleep(interval)

    async def list_all() -> None:
        await call("ListUnhandledCommands", ListUnhandledCommandsRequest())
        await call("ListNotCompletedDeployments", ListNotCompletedDeploymentsRequest())
        await call("ListApplications", ListApplicationsRequest())

    async def beat() -> None:
        await call("Beat", BeatRequest(instance="one"))

    async def report_sync_state() -> None:
        status = random.choice((ApplicationSyncStatus.SYNCED, ApplicationSyncStatus.OUT_OF_SYNC))
        state = ApplicationSyncState(status=status, timestamp=int(time.time()))
        application_id = _application_of(number)
        request = ReportApplicationSyncStateRequest(application_id=application_id, state=state)
        await call("ReportApplicationSyncState", request)

    async with asyncio.TaskGroup() as tasks:
        granted = asyncio.Event()
        tasks.create_task(_watch(load, agent, call, granted))
        await granted.wait()
        tasks.create_task(every(LIST_INTERVAL, list_all))
        tasks.create_task(every(heartbeat.INTERVAL, beat))
        tasks.create_task(every(SYNC_STATE_INTERVAL, report_sync_state))
        tasks.create_task(every(DEPLOY_INTERVAL, lambda: _deploy(load, agent, call, number)))


async def _watch(
    load: _Load, agent: Agent, call: Callable[[str, Any], Awaitable[Any]], granted: asyncio.Event
) -> None:
    """Follow the stream, which sets `granted` when the agent has the lease, and handle its commands."""
    while True:
        with suppress(aio.AioRpcError):
            async for change in agent.watch("one"):
                if change.kind == AgentChange.LEASE_GRANTED and not granted.is_set():
                    granted.set()
                    load.streams += 1
                    if load.streams == AGENTS:
                        load.all_granted.set()
                if change.kind != AgentChange.COMMANDS:
                    continue
                received = time.monotonic()
                response = await call("ListUnhandledCommands", ListUnhandledCommandsRequest())
                for command in response.commands if response else ():
                    requested = load.requested.pop(command.sync_application.application_id, None)
                    if requested is not None:
                        load.notices.append((received - requested) * 1000)
                    handled = ReportCommandHandledRequest(
                        command_id=command.id,
                        status=CommandStatus.COMMAND_SUCCEEDED,
                        handled_at=int(time.time()),
                    )
                    await call("ReportCommandHandled", handled)
        load.failed["Watch"] += 1
        await asyncio.sleep(1.0)


async def _deploy(load: _Load, agent: Agent, call: Callable[[str, Any], Awaitable[Any]], number: int) -> None:
    deployment = new_deployment(agent, _application_of(number), f"n{number}-{time.time_ns()}")
    for index in range(3):
        deployment.stages.add(id=f"stage-{index}", name="WAIT", index=index, created_at=1, updated_at=1)
    created = CreateDeploymentRequest(deployment=deployment)
    if await call("CreateDeployment", created) is None:
        return
    planned = ReportDeploymentPlannedRequest(
        deployment_id=deployment.id, summary="sync", stages=deployment.stages
    )
    await call("ReportDeploymentPlanned", planned)
    for stage in deployment.stages:
        running = ReportStageStatusChangedRequest(
            deployment_id=deployment.id, stage_id=stage.id, status=StageStatus.STAGE_RUNNING, completed_at=1
        )
        await call("ReportStageStatusChanged", running)
        blocks = [LogBlock(index=line + 1, log="Apply complete!", created_at=1) for line in range(5)]
        await call(
            "ReportStageLogs",
            ReportStageLogsRequest(deployment_id=deployment.id, stage_id=stage.id, blocks=blocks),
        )
        running.status = StageStatus.STAGE_SUCCESS
        await call("ReportStageStatusChanged", running)
    completed = ReportDeploymentCompletedRequest(
        deployment_id=deployment.id,
        status=DeploymentStatus.DEPLOYMENT_SUCCESS,
        completed_at=int(time.time()),
    )
    await call("ReportDeploymentCompleted", completed)
    load.deployed += 1


async def _request_syncs(load: _Load, admin: Console) -> None:
    while True:
        await asyncio.sleep(0.5)
        application_id = f"a{random.randrange(APPLICATIONS)}"
        if application_id not in load.requested:
            load.requested[application_id] = time.monotonic()
            try:
                await admin.call("SyncApplication", application_id=application_id)
            except CallFailed as error:
                load.failed[f"SyncApplication {error.code}"] += 1
                del load.requested[application_id]


async def _read_pages(user: Console, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"applications": [], "deployments": []}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for page, method in (("applications", "PageApplications"), ("deployments", "PageDeployments")):
            started = time.monotonic()
            await user.call(method)
            times[page].append((time.monotonic() - started) * 1000)
        await asyncio.sleep(0.1)
    return times


async def _search(viewer: Console, until: float) -> None:
    while time.monotonic() < until:
        await viewer.call("PageApplications", search="no such application")


def _application_of(number: int) -> str:
    """One of the agent's applications."""
    each = APPLICATIONS // AGENTS
    return f"a{number * each + random.randrange(each)}"


async def _insert_records(store: Store, piped_key: str) -> None:
    everything = ProjectRBACResource(type=ProjectRBACResource.ALL, labels={"team": "t1"})
    policy = ProjectRBACPolicy(resources=[everything], actions=[ProjectRBACPolicy.ALL])
    project = Project(id=PROJECT, rbac_roles=[ProjectRBACRole(name="team-1", policies=[policy])])
    await insert(store, [project])
    piped_keys = [PipedKey(hash=keys.hash_key(piped_key))]
    pipeds = [Piped(id=f"p{n}", name=f"p{n}", project_id=PROJECT, keys=piped_keys) for n in range(AGENTS)]
    await insert(store, pipeds)
    each = APPLICATIONS // AGENTS
    await insert(store, [application(n, f"p{min(n // each, AGENTS - 1)}") for n in range(APPLICATIONS)])
    deployments = [finished_deployment(n, APPLICATIONS) for n in range(FINISHED)]
    for deployment in deployments:
        number = int(deployment.application_id[1:])
        deployment.labels.update(application(number).labels)
    await insert(store, deployments)

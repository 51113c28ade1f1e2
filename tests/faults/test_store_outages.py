"""A database that crashes and an object store that fails, while agents report stage logs."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from pipecd.schema.agent.deployments_pb2 import ListNotCompletedDeploymentsRequest
from pipecd.schema.agent.logs_pb2 import (
    ReportStageLogsFromLastCheckpointRequest,
    ReportStageLogsRequest,
)
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.stage_log_pb2 import LogBlock
from tests.aws import Application, Aws, emulated_account
from tests.contracts import postgres
from tests.contracts.conftest import postgres_url as postgres_url
from tests.contracts.test_blobs import create_bucket, s3_config
from tests.controlplane.server_fixture import CallFailed, ControlPlane, control_plane
from tests.controlplane.test_agents import Agent, create_planned_deployment
from tests.eventually import eventually
from tests.loop_latency import loop_latency

#: Reporters at the same time; each writes the log of one attempt of the stage.
REPORTERS = 8
#: Seconds. A call during an outage ends with an error far before its own timeout.
LONGEST_CALL = 20.0


class ObjectStore:
    """The emulated S3, which fails while it is `down`, with the status of an overloaded or broken server."""

    def __init__(self) -> None:
        self.down, self.refused = False, 0

    def __call__(self, inner: Application) -> Application:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if not self.down or "/objects" not in environ["PATH_INFO"]:
                return inner(environ, start_response)
            self.refused += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return []

        return application


class Reporter:
    """Reports one stage log line by line, with checkpoints, and repeats every call until it succeeds."""

    def __init__(self, agent: Agent, attempt: int, codes: Counter[str]) -> None:
        self._agent, self._attempt, self._codes = agent, attempt, codes
        self.reported, self._unstored, self.longest_call = 0, list[LogBlock](), 0.0

    async def run(self) -> None:
        """Reports until cancelled."""
        while True:
            await self.report(completed=False)

    async def report(self, *, completed: bool) -> None:
        """Reports three lines, then a checkpoint."""
        for _ in range(3):
            block = LogBlock(index=self.reported + 1, log=f"line {self.reported + 1}", created_at=1)
            self._unstored.append(block)
            await self._until_ok("ReportStageLogs", ReportStageLogsRequest, blocks=[block])
            self.reported += 1
        await self._until_ok(
            "ReportStageLogsFromLastCheckpoint",
            ReportStageLogsFromLastCheckpointRequest,
            blocks=self._unstored,
            completed=completed,
        )
        self._unstored.clear()

    async def _until_ok(self, name: str, request: Callable[..., Any], **fields: Any) -> None:
        message = request(deployment_id="d1", stage_id="stage-0", retried_count=self._attempt, **fields)
        while True:
            started = time.monotonic()
            code = await self._agent.code(name, message)
            self.longest_call = max(self.longest_call, time.monotonic() - started)
            self._codes[code] += 1
            if code == "OK":
                return
            await asyncio.sleep(0.05)


async def stored_lines(plane: ControlPlane, attempt: int) -> list[int]:
    response = await plane.console.call(
        "GetStageLog", deployment_id="d1", stage_id="stage-0", retried_count=attempt
    )
    assert response.completed
    return [block.index for block in response.blocks]


async def test_outages_of_database_and_object_store_lose_no_line_of_a_log(
    postgres_url: str, tmp_path: Path
) -> None:
    """`postgres_url` only ensures that PostgreSQL is installed; the test crashes a cluster of its own."""
    store = ObjectStore()
    with (
        tempfile.TemporaryDirectory(prefix="pipecd-pg-") as name,
        postgres.cluster(Path(name)),
        emulated_account(store) as url,
    ):
        create_bucket(Aws(url=url))
        database = {"url": "postgresql://postgres@", "database": f"postgres?host={name}/s"}
        async with (
            control_plane(
                tmp_path,
                datastore={"type": "POSTGRESQL", "config": database},
                filestore={"type": "S3", "config": s3_config(tmp_path, url)},
            ) as plane,
            aio.insecure_channel(plane.address) as channel,
        ):
            agent = Agent(channel, *await plane.register_piped())
            await prepare(plane, agent)
            codes: Counter[str] = Counter()
            reporters = [Reporter(agent, attempt, codes) for attempt in range(REPORTERS)]
            async with loop_latency() as latency, asyncio.TaskGroup() as group:
                tasks = [group.create_task(reporter.run()) for reporter in reporters]
                await progress(reporters)

                store.down = True
                await eventually(lambda: refusals(codes, REPORTERS))
                assert await agent.code("ListNotCompletedDeployments", LIST) == "OK", "it needs no objects"
                store.down = False
                await progress(reporters)

                refused = codes["UNAVAILABLE"]
                postgres.crash(Path(name))
                await eventually(lambda: refusals(codes, refused + REPORTERS))
                with pytest.raises(CallFailed, match="unavailable"):
                    await plane.console.call("ListApplications")
                await asyncio.to_thread(postgres.restart, Path(name))
                await progress(reporters)
                for task in tasks:
                    task.cancel()
            assert set(codes) == {"OK", "UNAVAILABLE"}, codes
            assert max(reporter.longest_call for reporter in reporters) < LONGEST_CALL
            latency.check()
            for attempt, reporter in enumerate(reporters):
                reported = Reporter(agent, attempt, codes)
                reported.reported = reporter.reported
                await reported.report(completed=True)
                assert await stored_lines(plane, attempt) == list(range(1, reporter.reported + 4))


LIST = ListNotCompletedDeploymentsRequest()


async def prepare(plane: ControlPlane, agent: Agent) -> None:
    repository = ApplicationGitRepository(id="demo", remote="https://git.example/d.git", branch="main")
    await agent.call("ReportPipedMeta", ReportPipedMetaRequest(repositories=[repository]))
    await create_planned_deployment(plane, agent)


async def progress(reporters: list[Reporter]) -> None:
    """Every reporter has reported more lines."""
    before = [reporter.reported for reporter in reporters]

    async def all_have() -> bool:
        return all(reporter.reported > count + 3 for reporter, count in zip(reporters, before, strict=True))

    await eventually(all_have)


async def refusals(codes: Counter[str], count: int) -> bool:
    return codes["UNAVAILABLE"] >= count

"""What the agent reports while the console shows its project: sync states, and lines of a log."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from bench.console_records import APPLICATIONS
from pipecd.client import Client, PipedToken, Transport, connect
from pipecd.schema.agent.applications_pb2 import ReportApplicationSyncStateRequest
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.model.application_pb2 import ApplicationSyncState, ApplicationSyncStatus
from pipecd.schema.model.stage_log_pb2 import INFO, LogBlock
from tests.controlplane.server_fixture import ControlPlane

#: Each second.
CHANGES, LINES_PER_SECOND = 20, 500
#: A deployment that runs, and its running stage.
RUNNING_DEPLOYMENT, RUNNING_STAGE = "d0", "stage-2"
_REPORTS_PER_SECOND = 5

_Report = Callable[[Client, int], Coroutine[None, None, None]]


async def change_application(agent: Client, number: int) -> None:
    """Of the newest ones, so that the first page of the list shows it."""
    status = (ApplicationSyncStatus.SYNCED, ApplicationSyncStatus.OUT_OF_SYNC)[number // APPLICATIONS % 2]
    state = ApplicationSyncState(status=status, short_reason=f"change {number}", timestamp=int(time.time()))
    request = ReportApplicationSyncStateRequest(application_id=f"a{100 + number % 50}", state=state)
    await agent.call(agent.piped.ReportApplicationSyncState, request)


async def write_lines(agent: Client, number: int) -> None:
    count = LINES_PER_SECOND // _REPORTS_PER_SECOND
    now = int(time.time())
    blocks = [
        LogBlock(index=index, log=f"INFO line {index} of the canary", severity=INFO, created_at=now)
        for index in range(number * count, (number + 1) * count)
    ]
    request = ReportStageLogsRequest(deployment_id=RUNNING_DEPLOYMENT, stage_id=RUNNING_STAGE, blocks=blocks)
    await agent.call(agent.piped.ReportStageLogs, request)


@asynccontextmanager
async def changing_applications(plane: ControlPlane, token: PipedToken) -> AsyncIterator[None]:
    async with _reporting(plane, token, change_application, CHANGES):
        yield


@asynccontextmanager
async def growing_log(plane: ControlPlane, token: PipedToken) -> AsyncIterator[None]:
    async with _reporting(plane, token, write_lines, _REPORTS_PER_SECOND):
        yield


@asynccontextmanager
async def _reporting(
    plane: ControlPlane, token: PipedToken, report: _Report, per_second: int
) -> AsyncIterator[None]:
    """Reports `per_second` times a second, as far as the machine can, while the block runs."""
    agent = await connect(plane.address, token, Transport(insecure=True))

    async def run() -> None:
        begun = time.monotonic()
        for number in itertools.count():
            await report(agent, number)
            await asyncio.sleep(begun + (number + 1) / per_second - time.monotonic())

    try:
        async with asyncio.TaskGroup() as group:
            reporting = group.create_task(run(), name="reporting")
            yield
            reporting.cancel()
    finally:
        await agent.close()

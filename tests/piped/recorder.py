"""A gRPC server that records an agent's calls, and can be stopped and restarted on the same port."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from grpc import aio

from pipecd.client import Client, PipedToken, Transport
from pipecd.schema.agent import logs_pb2, pipeds_pb2
from pipecd.schema.agent.service_pb2_grpc import PipedServiceServicer, add_PipedServiceServicer_to_server
from pipecd.schema.model.stage_log_pb2 import LogBlock
from tests.ports import free_ports

TOKEN = PipedToken(project_id="j", piped_id="p", key="key\n")


class Recorder(PipedServiceServicer):
    """Stores log blocks by index as the control plane does. `refuse` fails each call with that code."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.seen: dict[int, LogBlock] = {}
        self.stored: dict[int, LogBlock] = {}
        self.completed = False
        self.calls = 0
        #: Size of the largest call with log lines, in bytes.
        self.largest = 0
        self.refuse: grpc.StatusCode | None = None
        #: Checkpoints are received, but answered only once this is set.
        self.answering = asyncio.Event()
        self.answering.set()
        self._changed = asyncio.Condition()
        self._server: aio.Server | None = None
        self.port = free_ports(1)[0]

    async def ReportStat(self, request: Any, context: Any) -> pipeds_pb2.ReportStatResponse:
        await self._record_call(context)
        return pipeds_pb2.ReportStatResponse(report_interval=1)

    async def ReportStageLogs(self, request: Any, context: Any) -> logs_pb2.ReportStageLogsResponse:
        await self._record_call(context)
        self.largest = max(self.largest, request.ByteSize())
        await self._store(self.seen, request.blocks)
        return logs_pb2.ReportStageLogsResponse()

    async def ReportStageLogsFromLastCheckpoint(
        self, request: Any, context: Any
    ) -> logs_pb2.ReportStageLogsFromLastCheckpointResponse:
        await self._record_call(context)
        self.largest = max(self.largest, request.ByteSize())
        async with self._changed:
            self._changed.notify_all()
        await self.answering.wait()
        self.completed = self.completed or request.completed
        await self._store(self.seen, request.blocks)
        await self._store(self.stored, request.blocks)
        return logs_pb2.ReportStageLogsFromLastCheckpointResponse()

    async def wait_until(self, condition: Callable[["Recorder"], bool], timeout: float = 60.0) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def start(self) -> None:
        self._server = aio.server()
        add_PipedServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(grace=None)

    def client(self, instance: str = "") -> Client:
        return Client(f"127.0.0.1:{self.port}", TOKEN, Transport(insecure=True), instance=instance)

    def lines(self) -> list[str]:
        return [self.stored[index].log for index in sorted(self.stored)]

    async def _record_call(self, context: Any) -> None:
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        if self.refuse:
            await context.abort(self.refuse, "no")

    async def _store(self, into: dict[int, LogBlock], blocks: Iterable[LogBlock]) -> None:
        for block in blocks:
            into.setdefault(block.index, block)
        async with self._changed:
            self._changed.notify_all()


def new_recorder() -> Recorder:
    return Recorder()  # type: ignore[abstract]  # Only for the type checker: the methods that are missing here fail.

"""Sends stage logs to the control plane within a fraction of a second.

`perform` opens one log per stage and passes it to the stage; `StageLogs.run` is the loop that sends. Lines
are buffered until a checkpoint is accepted, so an outage loses none. If an outage fills the buffer, the
oldest lines are dropped, and the log says so.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from pipecd.client import Client
from pipecd.errors import Conflict, NotFound, PermissionDenied, PipecdError, Refused
from pipecd.piped.loop import Wake
from pipecd.schema.agent.logs_pb2 import ReportStageLogsFromLastCheckpointRequest, ReportStageLogsRequest
from pipecd.schema.model.stage_log_pb2 import LogBlock, LogSeverity
from pipecd.secrets import Redactor

log = structlog.get_logger()

#: How long lines are collected before they are sent, in seconds.
BATCH_DELAY = 0.15
CHECKPOINT_INTERVAL = 120.0
#: Limits in characters, of a block (PipeCD's reader rejects lines over 64 KiB of JSON), a call, and a stage.
MAX_BLOCK_LENGTH, MAX_CALL_LENGTH, MAX_BUFFERED = 10_000, 1_000_000, 8_000_000
#: How long the end of a stage waits for its log to be stored, in seconds.
STORE_TIMEOUT = 5.0
_PERMANENT_ERRORS = (Conflict, NotFound, PermissionDenied, Refused)


@dataclass
class _Pending:
    """The lines of one stage since its last accepted checkpoint."""

    deployment_id: str
    stage_id: str
    next_index: int
    #: Index of the last line that a checkpoint stored, or that the control plane rejected.
    stored_index: int = field(init=False)
    blocks: list[LogBlock] = field(default_factory=list)
    size: int = 0
    sent: int = 0
    completed: bool = False
    checkpoint_at: float = 0.0
    #: Set once the pending lines are stored; None if nothing waits for that.
    store: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.stored_index = self.next_index - 1

    @property
    def dropped_count(self) -> int:
        """The number of lines missing between the last stored line and the first pending one."""
        return self.blocks[0].index - self.stored_index - 1 if self.blocks else 0

    def add(self, text: str, severity: LogSeverity.ValueType) -> None:
        block = LogBlock(index=self.next_index, log=text, severity=severity, created_at=int(time.time()))
        self.next_index += 1
        self.blocks.append(block)
        self.size += len(text)
        while self.size > MAX_BUFFERED and len(self.blocks) > 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        dropped = self.blocks.pop(0)
        self.size -= len(dropped.log)
        self.sent = max(0, self.sent - 1)

    def discard_until(self, index: int) -> None:
        """Discards the lines up to `index`, which were stored or rejected."""
        count = sum(1 for block in self.blocks if block.index <= index)
        self.size -= sum(len(block.log) for block in self.blocks[:count])
        del self.blocks[:count]
        self.sent = max(0, self.sent - count)
        self.stored_index = index


class StageLogWriter:
    """The log of one stage (implements `model.stage.StageLog`)."""

    def __init__(self, pending: _Pending, redactor: Redactor, wake: Wake) -> None:
        self._pending, self._redactor, self._wake = pending, redactor, wake

    def info(self, text: str) -> None:
        self._write(text, LogSeverity.INFO)

    def success(self, text: str) -> None:
        self._write(text, LogSeverity.SUCCESS)

    def error(self, text: str) -> None:
        self._write(text, LogSeverity.ERROR)

    def _write(self, text: str, severity: LogSeverity.ValueType) -> None:
        clean = self._redactor.text(text)
        for line in clean.rstrip("\n").split("\n"):
            for start in range(0, max(len(line), 1), MAX_BLOCK_LENGTH):
                self._pending.add(line[start : start + MAX_BLOCK_LENGTH] or " ", severity)
        self._wake()


class StageLogs:
    def __init__(self, client: Client, redactor: Redactor) -> None:
        self._client, self._redactor = client, redactor
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._wake = Wake()

    def open(self, deployment_id: str, stage_id: str) -> StageLogWriter:
        """The stage's log. Opening it again in the same process continues the same log."""
        key = (deployment_id, stage_id)
        pending = self._pending.get(key)
        if pending is None:
            # Microseconds since the epoch: greater than every index of an earlier process.
            pending = _Pending(deployment_id, stage_id, next_index=time.time_ns() // 1000)
            pending.checkpoint_at = time.monotonic() + CHECKPOINT_INTERVAL
            self._pending[key] = pending
        return StageLogWriter(pending, self._redactor, self._wake)

    async def store(self, deployment_id: str, stage_id: str) -> None:
        """Stores the lines before the end of the stage is reported. Waits at most STORE_TIMEOUT."""
        pending = self._pending.get((deployment_id, stage_id))
        if pending is None or not pending.blocks:
            return
        pending.store = asyncio.Event()
        self._wake()
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                await pending.store.wait()
        except TimeoutError:
            log.warning("stage_log_not_stored_yet", deployment=deployment_id, stage=stage_id)

    def complete(self, deployment_id: str, stage_id: str) -> None:
        """Marks the log complete: the stage has ended and writes no more lines."""
        self.open(deployment_id, stage_id)
        self._pending[(deployment_id, stage_id)].completed = True
        self._wake()

    async def run(self) -> None:
        """Sends lines as they are written. Runs until cancelled."""
        failures = 0
        while True:
            await self._wake.wait(CHECKPOINT_INTERVAL if not failures else min(10.0, 0.5 * 2**failures))
            if not failures and not any(pending.store for pending in self._pending.values()):
                await asyncio.sleep(BATCH_DELAY)
            try:
                await self._send_all()
                failures = 0
            except PipecdError as error:
                failures = min(failures + 1, 6)
                log.warning("stage_logs_delayed", error=str(error))

    async def flush(self) -> None:
        """Tries once to store all pending lines; called at shutdown."""
        for pending in list(self._pending.values()):
            try:
                await self._checkpoint(pending)
            except PipecdError as error:
                log.warning("stage_log_not_stored", stage=pending.stage_id, error=str(error))

    async def _send_all(self) -> None:
        for pending in list(self._pending.values()):
            due = time.monotonic() >= pending.checkpoint_at or pending.size > MAX_CALL_LENGTH
            if pending.completed or pending.store or (due and pending.blocks):
                await self._checkpoint(pending)
            else:
                await self._send_new(pending)

    async def _send_new(self, pending: _Pending) -> None:
        while pending.sent < len(pending.blocks):
            part = _first_part(pending.blocks[pending.sent :])
            request = ReportStageLogsRequest(
                deployment_id=pending.deployment_id, stage_id=pending.stage_id, blocks=part
            )
            last = part[-1].index
            try:
                await self._client.call(self._client.piped.ReportStageLogs, request)
            except _PERMANENT_ERRORS as error:
                self._discard_rejected(pending, error)
                return
            pending.sent = sum(1 for block in pending.blocks if block.index <= last)

    async def _checkpoint(self, pending: _Pending) -> None:
        """Stores all pending lines; the last part carries the completed flag."""
        while True:
            part = _first_part(pending.blocks)
            is_last_part = len(part) == len(pending.blocks)
            last = part[-1].index if part else pending.stored_index
            request = ReportStageLogsFromLastCheckpointRequest(
                deployment_id=pending.deployment_id,
                stage_id=pending.stage_id,
                blocks=_with_notice(part, pending.dropped_count),
                completed=pending.completed and is_last_part,
            )
            try:
                if part or pending.completed:
                    await self._client.call(self._client.piped.ReportStageLogsFromLastCheckpoint, request)
            except _PERMANENT_ERRORS as error:
                self._discard_rejected(pending, error)
                return
            pending.discard_until(last)
            pending.checkpoint_at = time.monotonic() + CHECKPOINT_INTERVAL
            if is_last_part:
                self._finish_checkpoint(pending, request.completed)
                return

    def _discard_rejected(self, pending: _Pending, error: PipecdError) -> None:
        """Discards lines that the control plane rejects permanently: the log is closed or not accessible."""
        if pending.blocks:
            log.warning(
                "stage_log_rejected", stage=pending.stage_id, error=str(error), lines=len(pending.blocks)
            )
        pending.discard_until(pending.next_index - 1)
        self._finish_checkpoint(pending, pending.completed)

    def _finish_checkpoint(self, pending: _Pending, completed: bool) -> None:
        # Lines written during the call are stored by the next checkpoint.
        if pending.store and not pending.blocks:
            pending.store.set()
            pending.store = None
        if completed:
            del self._pending[(pending.deployment_id, pending.stage_id)]


def _first_part(blocks: Sequence[LogBlock]) -> list[LogBlock]:
    """The leading blocks that fit into one call."""
    part: list[LogBlock] = []
    size = 0
    for block in blocks:
        size += len(block.log)
        if part and size > MAX_CALL_LENGTH:
            break
        part.append(block)
    return part


def _with_notice(part: Sequence[LogBlock], dropped_count: int) -> Sequence[LogBlock]:
    """`part`, with a notice of the lines that were dropped before it. The pending blocks do not change."""
    if not part or not dropped_count:
        return part
    notice = f"[{dropped_count} lines were dropped: the control plane was unreachable for too long]"
    first = LogBlock()
    first.CopyFrom(part[0])
    first.log = f"{notice} {first.log}"
    return [first, *part[1:]]

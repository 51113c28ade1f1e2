"""Sends stage logs to the control plane within a fraction of a second.

`perform` opens one log per stage and passes it to the stage; `StageLogs.run` is the loop that sends. Lines
are buffered until a checkpoint is accepted, so an outage loses none. While the buffer is more than half full,
programs that write to the log wait (`drain`), for a limited time: a long outage must not hold a program up.
If the buffer is full, the oldest lines are dropped, and the log says so, and why.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import structlog
from google.protobuf.message import Message

from pipecd.client import Client
from pipecd.clock import Clock, set_within
from pipecd.errors import Conflict, NotFound, PermissionDenied, PipecdError, Refused
from pipecd.piped.loop import Wake
from pipecd.piped.settings import StageLogSettings
from pipecd.retry import Backoff
from pipecd.schema.agent.logs_pb2 import ReportStageLogsFromLastCheckpointRequest, ReportStageLogsRequest
from pipecd.schema.model.stage_log_pb2 import LogBlock, LogSeverity
from pipecd.secrets import RedactedStream, Redactor

log = structlog.get_logger()

#: Of a block in memory, in bytes.
_BLOCK_OVERHEAD = 64
_PERMANENT_ERRORS = (Conflict, NotFound, PermissionDenied, Refused)


@dataclass
class _Pending:
    """The lines of one stage since its last accepted checkpoint."""

    deployment_id: str
    stage_id: str
    next_index: int
    #: Limit of `size`.
    max_size: int
    checkpoint_at: float
    #: A program may print a secret in several lines.
    redacted: RedactedStream
    #: Index of the last line that a checkpoint stored, or that the control plane rejected.
    stored_index: int = field(init=False)
    blocks: deque[LogBlock] = field(default_factory=deque)
    #: In bytes of memory, about.
    size: int = 0
    #: How many of the first blocks were sent since the last checkpoint.
    sent: int = 0
    #: Whether the last attempt to send failed.
    failing: bool = False
    #: Why lines were dropped.
    drop_reason: str = ""
    #: Whether programs stopped waiting for space, until lines are stored again.
    overflowing: bool = False
    #: Set while the buffer is at most half full.
    has_space: asyncio.Event = field(default_factory=asyncio.Event)
    completed: bool = False
    #: Set once the pending lines are stored; None if nothing waits for that.
    store: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.stored_index = self.next_index - 1
        self.has_space.set()

    @property
    def dropped_count(self) -> int:
        """The number of lines missing between the last stored line and the first pending one."""
        return self.blocks[0].index - self.stored_index - 1 if self.blocks else 0

    def add(self, text: str, severity: LogSeverity.ValueType, created_at: int) -> None:
        block = LogBlock(index=self.next_index, log=text, severity=severity, created_at=created_at)
        self.next_index += 1
        self.blocks.append(block)
        self.size += _cost(block)
        while self.size > self.max_size and len(self.blocks) > 1:
            self._remove_oldest()
            self.drop_reason = (
                "the control plane was unreachable for too long"
                if self.failing
                else "they were written faster than they could be stored"
            )
        if self.size > self.max_size // 2:
            self.has_space.clear()

    def _remove_oldest(self) -> None:
        self.size -= _cost(self.blocks.popleft())
        self.sent = max(0, self.sent - 1)

    def discard_until(self, index: int) -> None:
        """Discards the lines up to `index`, which were stored or rejected."""
        while self.blocks and self.blocks[0].index <= index:
            self._remove_oldest()
        self.stored_index, self.overflowing = index, False
        if self.size <= self.max_size // 2:
            self.has_space.set()


class StageLogWriter:
    """The log of one stage (implements `model.stage.StageLog`)."""

    def __init__(
        self,
        pending: _Pending,
        wake: Wake,
        clock: Clock,
        settings: StageLogSettings,
    ) -> None:
        self._pending, self._wake = pending, wake
        self._clock, self._settings = clock, settings

    def info(self, text: str) -> None:
        self._write(text, LogSeverity.INFO)

    def success(self, text: str) -> None:
        self._write(text, LogSeverity.SUCCESS)

    def error(self, text: str) -> None:
        self._write(text, LogSeverity.ERROR)

    async def drain(self) -> None:
        """Wait until lines can be added without others being dropped, at most `space_timeout`."""
        pending = self._pending
        if pending.overflowing or pending.has_space.is_set():
            return
        self._wake()
        if not await set_within(self._clock, pending.has_space, self._settings.space_timeout):
            log.warning("stage_log_overflowing", deployment=pending.deployment_id, stage=pending.stage_id)
            pending.overflowing = True

    def _write(self, text: str, severity: LogSeverity.ValueType) -> None:
        clean = self._pending.redacted.line(text)
        now, length = int(self._clock.now()), self._settings.max_block_length
        for line in clean.rstrip("\n").split("\n"):
            for start in range(0, max(len(line), 1), length):
                self._pending.add(line[start : start + length] or " ", severity, now)
        self._wake()


class StageLogs:
    def __init__(self, client: Client, redactor: Redactor, clock: Clock, settings: StageLogSettings) -> None:
        self._client, self._redactor, self._clock, self._settings = client, redactor, clock, settings
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._wake = Wake()

    def open(self, deployment_id: str, stage_id: str) -> StageLogWriter:
        """The stage's log. Opening it again in the same process continues the same log."""
        key = (deployment_id, stage_id)
        pending = self._pending.get(key)
        if pending is None:
            # Microseconds since the epoch: greater than every index of an earlier process.
            pending = _Pending(
                deployment_id,
                stage_id,
                next_index=int(self._clock.now() * 1_000_000),
                max_size=self._settings.max_buffered,
                checkpoint_at=self._next_checkpoint(),
                redacted=self._redactor.stream(),
            )
            self._pending[key] = pending
        return StageLogWriter(pending, self._wake, self._clock, self._settings)

    async def store(self, deployment_id: str, stage_id: str) -> None:
        """Stores the lines before the end of the stage is reported. Waits at most `store_timeout`."""
        pending = self._pending.get((deployment_id, stage_id))
        if pending is None or not pending.blocks:
            return
        pending.store = asyncio.Event()
        self._wake()
        if not await set_within(self._clock, pending.store, self._settings.store_timeout):
            log.warning("stage_log_not_stored_yet", deployment=deployment_id, stage=stage_id)

    def complete(self, deployment_id: str, stage_id: str) -> None:
        """Marks the log complete: the stage has ended and writes no more lines."""
        self.open(deployment_id, stage_id)
        self._pending[(deployment_id, stage_id)].completed = True
        self._wake()

    async def run(self) -> None:
        """Sends lines as they are written. Runs until cancelled."""
        clock, settings = self._clock, self._settings
        backoff = Backoff(settings.retry)
        while True:
            await self._wake.wait_within(clock, settings.checkpoint_interval)
            if not any(pending.store or not pending.has_space.is_set() for pending in self._pending.values()):
                await clock.sleep(settings.batch_delay)
            try:
                await self._send_all()
                backoff.reset()
            except PipecdError as error:
                log.warning("stage_logs_delayed", error=str(error))
                # New lines do not cut the delay short: a script may write many a second.
                await clock.sleep(backoff.next_delay())
                self._wake()

    async def flush(self) -> None:
        """Tries once to store all pending lines; called at shutdown."""
        for pending in list(self._pending.values()):
            try:
                await self._checkpoint(pending)
            except PipecdError as error:
                log.warning("stage_log_not_stored", stage=pending.stage_id, error=str(error))

    def _next_checkpoint(self) -> float:
        return self._clock.monotonic() + self._settings.checkpoint_interval

    async def _send_all(self) -> None:
        for pending in list(self._pending.values()):
            due = self._clock.monotonic() >= pending.checkpoint_at or (
                pending.size > self._settings.max_call_size or not pending.has_space.is_set()
            )
            if pending.completed or pending.store or (due and pending.blocks):
                await self._checkpoint(pending)
            else:
                await self._send_new(pending)

    async def _send_new(self, pending: _Pending) -> None:
        while pending.sent < len(pending.blocks):
            part = _first_part(islice(pending.blocks, pending.sent, None), self._settings.max_call_size)
            request = ReportStageLogsRequest(
                deployment_id=pending.deployment_id, stage_id=pending.stage_id, blocks=part
            )
            last = part[-1].index
            try:
                await self._call(pending, self._client.piped.ReportStageLogs, request)
            except _PERMANENT_ERRORS as error:
                self._discard_rejected(pending, error)
                return
            # Indices are consecutive. Meanwhile the oldest blocks may have been dropped.
            pending.sent = max(0, last - pending.blocks[0].index + 1) if pending.blocks else 0

    async def _checkpoint(self, pending: _Pending) -> None:
        """Stores all pending lines; the last part carries the completed flag."""
        while True:
            part = _first_part(pending.blocks, self._settings.max_call_size)
            is_last_part = len(part) == len(pending.blocks)
            last = part[-1].index if part else pending.stored_index
            request = ReportStageLogsFromLastCheckpointRequest(
                deployment_id=pending.deployment_id,
                stage_id=pending.stage_id,
                blocks=_with_notice(part, pending.dropped_count, pending.drop_reason),
                completed=pending.completed and is_last_part,
            )
            try:
                if part or pending.completed:
                    await self._call(pending, self._client.piped.ReportStageLogsFromLastCheckpoint, request)
            except _PERMANENT_ERRORS as error:
                self._discard_rejected(pending, error)
                return
            pending.discard_until(last)
            pending.checkpoint_at = self._next_checkpoint()
            if is_last_part:
                self._finish_checkpoint(pending, request.completed)
                return

    async def _call(self, pending: _Pending, method: Any, request: Message) -> None:
        try:
            await self._client.call(method, request)
        except PipecdError:
            pending.failing = True
            raise
        pending.failing = False

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


def _cost(block: LogBlock) -> int:
    """Bytes of memory, about. A short line costs much more than its text."""
    return block.ByteSize() + _BLOCK_OVERHEAD


def _first_part(blocks: Iterable[LogBlock], max_size: int) -> list[LogBlock]:
    """The leading blocks that fit into one call of `max_size` bytes."""
    part: list[LogBlock] = []
    size = 0
    for block in blocks:
        size += _cost(block)
        if part and size > max_size:
            break
        part.append(block)
    return part


def _with_notice(part: Sequence[LogBlock], dropped_count: int, reason: str) -> Sequence[LogBlock]:
    """`part`, with a notice of the lines that were dropped before it. The pending blocks do not change."""
    if not part or not dropped_count:
        return part
    notice = f"[{dropped_count} lines were dropped: {reason}]"
    first = LogBlock()
    first.CopyFrom(part[0])
    first.log = f"{notice} {first.log}"
    return [first, *part[1:]]

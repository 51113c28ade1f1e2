"""Stage logs on their way to the control plane: written now, there within a fraction of a second.

`perform` opens a log a stage and hands it to the stage; `Logs.ship` is the loop that sends. Lines are
kept until a checkpoint is accepted, so that an outage loses none; only when an outage outlasts the
memory bound are the oldest left out, and the log says so.
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

#: How long lines are gathered before they are sent (seconds).
GATHER = 0.15
CHECKPOINT_EVERY = 120.0
#: Bounds, in characters: one block (PipeCD's reader refuses lines over 64 KiB of JSON), one call, one stage.
MAX_BLOCK, MAX_CALL, MAX_KEPT = 10_000, 1_000_000, 8_000_000
#: How long the end of a stage waits for its log to be stored.
PATIENCE = 5.0
_FINAL = (Conflict, NotFound, PermissionDenied, Refused)


@dataclass
class _Pending:
    """The lines of one stage since its last accepted checkpoint."""

    deployment_id: str
    stage_id: str
    next_index: int
    blocks: list[LogBlock] = field(default_factory=list)
    size: int = 0
    sent: int = 0
    left_out: int = 0
    completed: bool = False
    checkpoint_at: float = 0.0
    #: Somebody waits until what is here is stored.
    store: asyncio.Event | None = None

    def add(self, text: str, severity: LogSeverity.ValueType) -> None:
        block = LogBlock(index=self.next_index, log=text, severity=severity, created_at=int(time.time()))
        self.next_index += 1
        self.blocks.append(block)
        self.size += len(text)
        while self.size > MAX_KEPT and len(self.blocks) > 1:
            self._leave_out_oldest()

    def _leave_out_oldest(self) -> None:
        self.left_out += 1
        dropped = self.blocks.pop(0)
        self.size -= len(dropped.log)
        self.sent = max(0, self.sent - 1)

    def accepted(self, count: int) -> None:
        """A checkpoint took the first `count` blocks."""
        self.size -= sum(len(block.log) for block in self.blocks[:count])
        del self.blocks[:count]
        self.sent = max(0, self.sent - count)


class Writer:
    """The log of one stage, as a stage sees it (`model.stage.StageLog`)."""

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
            for start in range(0, max(len(line), 1), MAX_BLOCK):
                self._pending.add(line[start : start + MAX_BLOCK] or " ", severity)
        self._wake()


class Logs:
    def __init__(self, client: Client, redactor: Redactor) -> None:
        self._client, self._redactor = client, redactor
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._wake = Wake()

    def open(self, deployment_id: str, stage_id: str) -> Writer:
        """The stage's log. Opening it again in the same process goes on where it was."""
        key = (deployment_id, stage_id)
        pending = self._pending.get(key)
        if pending is None:
            # Microseconds since the epoch: beyond every index of an earlier process, however chatty it was.
            pending = _Pending(deployment_id, stage_id, next_index=time.time_ns() // 1000)
            pending.checkpoint_at = time.monotonic() + CHECKPOINT_EVERY
            self._pending[key] = pending
        return Writer(pending, self._redactor, self._wake)

    async def store(self, deployment_id: str, stage_id: str) -> None:
        """Before a stage's end is reported: have its lines stored, waiting a little for an outage to pass."""
        pending = self._pending.get((deployment_id, stage_id))
        if pending is None or not pending.blocks:
            return
        pending.store = asyncio.Event()
        self._wake()
        try:
            async with asyncio.timeout(PATIENCE):
                await pending.store.wait()
        except TimeoutError:
            log.warning("stage log waits for the control plane", deployment=deployment_id, stage=stage_id)

    def complete(self, deployment_id: str, stage_id: str) -> None:
        """The stage is over: its log gets no more lines."""
        self.open(deployment_id, stage_id)
        self._pending[(deployment_id, stage_id)].completed = True
        self._wake()

    async def ship(self) -> None:
        """Send what was written, for ever."""
        failures = 0
        while True:
            await self._wake.wait(CHECKPOINT_EVERY if not failures else min(10.0, 0.5 * 2**failures))
            if not failures and not any(pending.store for pending in self._pending.values()):
                await asyncio.sleep(GATHER)
            try:
                await self._send_all()
                failures = 0
            except PipecdError as error:
                failures = min(failures + 1, 6)
                log.warning("stage logs wait for the control plane", why=str(error))

    async def flush(self) -> None:
        """At the end of the process: store what is left, once."""
        for pending in list(self._pending.values()):
            try:
                await self._checkpoint(pending)
            except PipecdError as error:
                log.warning("stage log was not stored", stage=pending.stage_id, why=str(error))

    async def _send_all(self) -> None:
        for pending in list(self._pending.values()):
            due = time.monotonic() >= pending.checkpoint_at or pending.size > MAX_CALL
            if pending.completed or pending.store or (due and pending.blocks):
                await self._checkpoint(pending)
            else:
                await self._send_new(pending)

    async def _send_new(self, pending: _Pending) -> None:
        while pending.sent < len(pending.blocks):
            part = _part(pending.blocks[pending.sent :])
            request = ReportStageLogsRequest(
                deployment_id=pending.deployment_id, stage_id=pending.stage_id, blocks=part
            )
            last = part[-1].index
            try:
                await self._client.call(self._client.piped.ReportStageLogs, request)
            except _FINAL as error:
                self._give_up(pending, error)
                return
            pending.sent = sum(1 for block in pending.blocks if block.index <= last)

    async def _checkpoint(self, pending: _Pending) -> None:
        """Store everything that is pending; the last part carries the completed mark."""
        self._admit_gap(pending)
        while True:
            part = _part(pending.blocks)
            whole = len(part) == len(pending.blocks)
            request = ReportStageLogsFromLastCheckpointRequest(
                deployment_id=pending.deployment_id,
                stage_id=pending.stage_id,
                blocks=part,
                completed=pending.completed and whole,
            )
            last = part[-1].index if part else 0
            try:
                if part or pending.completed:
                    await self._client.call(self._client.piped.ReportStageLogsFromLastCheckpoint, request)
            except _FINAL as error:
                self._give_up(pending, error)
                return
            pending.accepted(sum(1 for block in pending.blocks if block.index <= last))
            pending.checkpoint_at = time.monotonic() + CHECKPOINT_EVERY
            if whole:
                self._stored(pending, request.completed)
                return

    def _admit_gap(self, pending: _Pending) -> None:
        if pending.left_out:
            text = f"{pending.left_out} lines are left out here: the control plane was away too long"

            pending.blocks[0].log = f"[{text}] {pending.blocks[0].log}"
            pending.left_out = 0

    def _give_up(self, pending: _Pending, error: PipecdError) -> None:
        """The control plane will never take these lines: the log is closed, or not ours any more."""
        if pending.blocks:
            log.warning(
                "stage log refused", stage=pending.stage_id, why=str(error), lines=len(pending.blocks)
            )
        pending.accepted(len(pending.blocks))
        self._stored(pending, pending.completed)

    def _stored(self, pending: _Pending, over: bool) -> None:
        # Lines that were written while the others were on their way go with the next checkpoint.
        if pending.store and not pending.blocks:
            pending.store.set()
            pending.store = None
        if over:
            del self._pending[(pending.deployment_id, pending.stage_id)]


def _part(blocks: Sequence[LogBlock]) -> list[LogBlock]:
    """The first blocks, as many as one call may carry."""
    part: list[LogBlock] = []
    size = 0
    for block in blocks:
        size += len(block.log)
        if part and size > MAX_CALL:
            break
        part.append(block)
    return part

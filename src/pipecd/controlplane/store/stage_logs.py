"""Stage logs: lines are stored as they arrive, and as chunks in the object store at each checkpoint.

Each report is a row in the database (a part), so that every replica can show it at once. A checkpoint merges
the parts into chunks, which are objects of up to `chunk_size`, and deletes the parts. The database has the
range of indices of every part and chunk, so that a reader loads only those of the page that it wants. Lines
are identified by index; a line reported twice is stored once. What is proportional to the number of lines
runs in a thread.

A log is limited: beyond `max_size`, chunks in its middle are deleted, and a notice stands in their place.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog

from pipecd import proto_json
from pipecd.bounded_dict import BoundedDict
from pipecd.controlplane.settings import StageLogSettings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import Blobs, segment
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.statements import Connection, ConstraintViolated, Write
from pipecd.controlplane.store.tables import log_chunks, log_parts, stage_logs
from pipecd.errors import NotFound, PipecdError, Refused, Temporary
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")

#: Last line of a file of PipeCD, and of earlier versions, if the stage has completed.
_END = "EOL"
#: Kind of the change in the change feed when a log has new lines.
CHANGE_KIND = "stage_log"
#: Parts and chunks whose ranges are loaded at once; of a page, further ones are on later pages.
_MAX_RANGES = 200
#: Parts that one query loads.
_BATCH = 50
#: The largest index of a line, and sequence number, that databases store.
_MAX_NUMBER = 2**63 - 1
#: Logs whose size since the last checkpoint is remembered.
_MAX_TRACKED = 10_000


def _ranges() -> sa.Select[Any]:
    """The ranges of the chunks and parts of a log."""
    chunk, part, names = log_chunks.c, log_parts.c, ("first", "last", "size", "seq")
    of_chunks = (chunk.first_index, chunk.last_index, chunk.size, sa.literal_column("0", sa.BigInteger()))
    of_parts = (part.first_index, part.last_index, part.size, part.seq)
    return sa.select(
        sa.union_all(
            sa.select(*map(sa.label, names, of_chunks)).where(chunk.name == sa.bindparam("log")),
            sa.select(*map(sa.label, names, of_parts)).where(part.name == sa.bindparam("log")),
        ).subquery()
    ).limit(_MAX_RANGES)


_FIRST, _LAST, _SEQ = (sa.column(name, sa.BigInteger()) for name in ("first", "last", "seq"))
_RANGES = _ranges().where(sa.bindparam("offset") <= _LAST).order_by(_FIRST, _SEQ)
_BEFORE: sa.BindParameter[int] = sa.bindparam("before")
_BEFORE_SEQ: sa.BindParameter[int] = sa.bindparam("before_seq")
_LAST_RANGES = (
    _ranges()
    .where(sa.or_(_FIRST < _BEFORE, sa.and_(_FIRST == _BEFORE, _SEQ < _BEFORE_SEQ)))
    .order_by(_FIRST.desc(), _SEQ.desc())
)
_SAME_CHUNKS = log_chunks.c.name == sa.bindparam("log")
_SAME_PARTS = log_parts.c.name == sa.bindparam("log")
_SAME_LOG = stage_logs.c.name == sa.bindparam("log")
_ANY_RANGE = sa.select(log_parts.c.seq).where(_SAME_PARTS).limit(1)
_CHUNKS = (
    sa.select(log_chunks.c.first_index, log_chunks.c.last_index, log_chunks.c.line_count, log_chunks.c.size)
    .where(_SAME_CHUNKS)
    .order_by(log_chunks.c.first_index)
)
_DELETE_CHUNK = sa.delete(log_chunks).where(_SAME_CHUNKS, log_chunks.c.first_index == sa.bindparam("first"))
_INSERT_CHUNK = sa.insert(log_chunks).inline()
_BATCH_NAMES = [f"part_{number}" for number in range(_BATCH)]
_PARTS_OF_BATCH = sa.select(log_parts.c.seq, log_parts.c.data).where(
    log_parts.c.seq.in_([sa.bindparam(name, type_=sa.BigInteger()) for name in _BATCH_NAMES])
)
_PARTS = sa.select(log_parts.c.seq, log_parts.c.data).where(_SAME_PARTS).order_by(log_parts.c.seq)
_INSERT_PART = sa.insert(log_parts).inline()
_DELETE_PARTS = sa.delete(log_parts).where(_SAME_PARTS, log_parts.c.seq <= sa.bindparam("last"))
_STATE = sa.select(stage_logs).where(_SAME_LOG)
_INSERT_STATE = sa.insert(stage_logs).inline()
_COMPLETE = sa.update(stage_logs).where(_SAME_LOG).values(completed=1)
_LEAVE_OUT = (
    sa.update(stage_logs)
    .where(_SAME_LOG)
    .values(
        left_out_lines=stage_logs.c.left_out_lines + sa.bindparam("more_lines"),
        left_out_size=stage_logs.c.left_out_size + sa.bindparam("more_size"),
        left_out_index=sa.bindparam("last"),
    )
)


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """`caught_up`: these lines include the last one. `completed`: moreover, the log has ended."""

    blocks: Sequence[LogBlock]
    caught_up: bool
    completed: bool


@dataclass(frozen=True, kw_only=True)
class _Log:
    """Name and path of the log of one attempt of a stage."""

    name: str
    folder: str

    @classmethod
    def of(cls, deployment_id: str, stage_id: str, retried: int) -> "_Log":
        return cls(
            name=f"{deployment_id}/{stage_id}/{retried}",
            folder=f"log/{segment(deployment_id)}/{segment(stage_id)}/{retried}",
        )

    @property
    def file(self) -> str:
        """The whole log as PipeCD and earlier versions wrote it."""
        return f"{self.folder}.txt"

    def chunk(self, first_index: int) -> str:
        return f"{self.folder}/{first_index}.binpb"


@dataclass(frozen=True, kw_only=True)
class _State:
    completed: bool
    left_out_lines: int
    left_out_size: int
    #: Index of the last line that was left out.
    left_out_index: int


@dataclass(frozen=True, kw_only=True)
class _Range:
    """A part (`seq` is its key) or a chunk (`seq` is 0). `size` is in bytes."""

    first: int
    last: int
    size: int
    seq: int = 0


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    first: int
    last: int
    lines: int
    data: bytes


class StageLogs:
    def __init__(self, store: Store, blobs: Blobs, settings: StageLogSettings) -> None:
        self._store, self._blobs, self._settings = store, blobs, settings
        #: Bytes of the parts since the last checkpoint, by name, as far as this replica stored them.
        self._unmerged = BoundedDict[str, int](_MAX_TRACKED)

    async def append(
        self, deployment: Deployment, stage_id: str, retried: int, blocks: Sequence[LogBlock]
    ) -> None:
        """Store lines that are not part of a checkpoint yet. Raises Refused if they are too many for one."""
        if not blocks:
            return
        name = _Log.of(deployment.id, stage_id, retried).name
        values = await _in_thread_if_many(blocks, _part, name, blocks)
        size = self._unmerged.get(name, 0) + values["size"]
        if size > self._settings.max_unmerged_size:
            raise Refused(
                f"stage {stage_id} has {size} bytes of log lines since its last checkpoint; at most"
                f" {self._settings.max_unmerged_size} are stored"
            )
        change = _change(deployment, stage_id)

        def write(connection: Connection) -> None:
            connection.finish(Write(_INSERT_PART, values), [self._store.feed.row(change)])

        await self._store.feed.write(write)
        self._unmerged[name] = size

    async def checkpoint(
        self, deployment: Deployment, stage_id: str, retried: int, blocks: Sequence[LogBlock], completed: bool
    ) -> None:
        """Merge `blocks`, all lines since the last checkpoint, and the stored parts into chunks."""
        this = _Log.of(deployment.id, stage_id, retried)
        await self._import_file(this)
        parts, last_seq = await self._load_parts(this.name)
        new: dict[int, LogBlock] = {}
        for part in (*parts, blocks):
            await _in_thread_if_many(part, _add, new, part, None)
        stored = await self._load_chunk_ranges(this.name, new)
        if stored and new and self._extends(stored[-1], min(new)):
            try:
                await _in_thread_if_many(new, _add, new, await self._load_chunk(this, stored[-1]), None)
                stored.pop()
            except _ChangedMeanwhile:
                log.warning("log_chunk_missing", log=this.name)
        chunks = await _in_thread_if_many(new, _split, new, stored, self._settings.chunk_size)
        for chunk in chunks:
            await self._blobs.write(this.chunk(chunk.first), chunk.data)
        await self._record(this, chunks, completed, last_seq, _change(deployment, stage_id))
        self._unmerged.pop(this.name, None)

    def _extends(self, tail: _Range, first_index: int) -> bool:
        """Whether lines from `first_index` on are added to the last chunk: few objects are better."""
        return tail.last < first_index and tail.size < self._settings.chunk_size // 2

    async def read(
        self, deployment_id: str, stage_id: str, retried: int, offset: int = 0, max_size: int | None = None
    ) -> LogPage:
        """The first lines with index `offset` or greater, up to `max_size` bytes (default: `page_size`).

        Raises NotFound if the stage has no log.
        """
        this, limit = _Log.of(deployment_id, stage_id, retried), max_size or self._settings.page_size
        return await _retried(lambda: self._read_page(this, offset, limit))

    async def _read_page(self, this: _Log, offset: int, limit: int) -> LogPage:
        state, ranges = await self._find(this, offset)
        # The last range of an incomplete list only limits the page: lines of the next ones come after it.
        unread, least_unread = list(ranges), int(len(ranges) == _MAX_RANGES)
        blocks: dict[int, LogBlock] = {}
        size = 0
        while len(unread) > least_unread and (size < limit or min(blocks, default=offset) >= unread[0].first):
            batch = _batch(unread[: len(unread) - least_unread], limit - size)
            for loaded in await self._load_batch(this, batch):
                await _in_thread_if_many(loaded, _add, blocks, loaded, offset)
            size += sum(of_batch.size for of_batch in batch)
            del unread[: len(batch)]
        end = unread[0].first if unread else None
        if state and state.left_out_lines and state.left_out_index >= offset:
            blocks.setdefault(state.left_out_index, self._notice(state))
        page = await _in_thread_if_many(blocks, _cut, blocks, end, limit, self._settings.page_lines)
        caught_up = len(page) == len(blocks) and not unread
        completed = state is not None and state.completed and caught_up
        return LogPage(blocks=page, caught_up=caught_up, completed=completed)

    async def read_end(
        self, deployment_id: str, stage_id: str, retried: int, max_size: int
    ) -> tuple[LogPage, bool]:
        """The last lines, up to `max_size` bytes, and whether earlier ones are not among them.

        Raises NotFound if the stage has no log.
        """
        this = _Log.of(deployment_id, stage_id, retried)
        return await _retried(lambda: self._read_end(this, max_size))

    async def _read_end(self, this: _Log, max_size: int) -> tuple[LogPage, bool]:
        state, unread = await self._find(this, None)
        has_more = len(unread) == _MAX_RANGES
        blocks: dict[int, LogBlock] = {}
        size = 0
        while unread and size < max_size:
            batch = _batch(unread[::-1], max_size - size)
            for loaded in await self._load_batch(this, batch):
                await _in_thread_if_many(loaded, _add, blocks, loaded, None)
            size += sum(of_batch.size for of_batch in batch)
            del unread[-len(batch) :]
            if not unread and has_more:
                _, unread = await self._load_ranges(this.name, None, before=batch[-1])
                has_more = len(unread) == _MAX_RANGES
        if state and state.left_out_lines and not unread:
            blocks.setdefault(state.left_out_index, self._notice(state))
        page = await _in_thread_if_many(blocks, _cut_start, blocks, max_size)
        completed = state is not None and state.completed
        has_earlier = bool(unread) or len(page) < len(blocks)
        return LogPage(blocks=page, caught_up=True, completed=completed), has_earlier

    async def _find(self, this: _Log, offset: int | None) -> tuple[_State | None, list[_Range]]:
        """The state of a log, and its ranges from `offset` on; None means the last ones. Raises NotFound."""
        state, ranges = await self._load_ranges(this.name, offset)
        if state is None and not ranges and await self._import_file(this):
            state, ranges = await self._load_ranges(this.name, offset)
        if state is None and not ranges and not await self._exists(this.name):
            raise NotFound(f"the stage has no log yet: {this.name}")
        return state, ranges

    async def _load_ranges(
        self, name: str, offset: int | None, before: _Range | None = None
    ) -> tuple[_State | None, list[_Range]]:
        """As `_find`; without an offset, the last ranges before `before`."""
        query = _LAST_RANGES if offset is None else _RANGES
        parameters: dict[str, object] = {"log": name}
        if offset is None:
            parameters["before"] = before.first if before else _MAX_NUMBER
            parameters["before_seq"] = before.seq if before else _MAX_NUMBER
        else:
            parameters["offset"] = offset

        def read(connection: Connection) -> tuple[_State | None, Sequence[Any]]:
            # The state comes first: a log that is complete has all its lines afterwards.
            state = _load_state(connection, name)
            return state, connection.execute(query, parameters).all()

        state, rows = await self._store.database.read(read)
        found = [_Range(first=row.first, last=row.last, size=row.size, seq=row.seq) for row in rows]
        return state, found if offset is not None else found[::-1]

    async def _exists(self, name: str) -> bool:
        return bool(await self._store.database.rows(_ANY_RANGE, {"log": name}))

    async def _load_chunk_ranges(self, name: str, new: Mapping[int, LogBlock]) -> list[_Range]:
        """The chunks from the last one before the new lines on, in order."""
        rows = await self._store.database.rows(_CHUNKS, {"log": name})
        ranges = [_Range(first=row.first_index, last=row.last_index, size=row.size) for row in rows]
        return (
            ranges[max(0, bisect_right([range_.first for range_ in ranges], min(new)) - 1) :] if new else []
        )

    async def _load_batch(self, this: _Log, batch: Sequence[_Range]) -> list[Sequence[LogBlock]]:
        """The lines of each range of a `_batch`."""
        if not batch[0].seq:
            return [await self._load_chunk(this, batch[0])]
        # A key that no part has stands for the rest.
        parts = [wanted.seq for wanted in batch] + [0] * (_BATCH - len(batch))
        rows = await self._store.database.rows(_PARTS_OF_BATCH, dict(zip(_BATCH_NAMES, parts, strict=True)))
        if len(rows) < len(batch):
            raise _ChangedMeanwhile
        data = {row.seq: row.data for row in rows}
        return [await _decode(data[wanted.seq]) for wanted in batch]

    async def _load_chunk(self, this: _Log, wanted: _Range) -> Sequence[LogBlock]:
        try:
            return await _decode(await self._blobs.read(this.chunk(wanted.first)))
        except NotFound:
            raise _ChangedMeanwhile from None

    async def _load_parts(self, name: str) -> tuple[list[Sequence[LogBlock]], int]:
        """The lines of the stored parts, and the sequence number of the last part."""
        rows = await self._store.database.rows(_PARTS, {"log": name})
        return [await _decode(row.data) for row in rows], rows[-1].seq if rows else 0

    async def _record(
        self, this: _Log, chunks: Sequence[_Chunk], completed: bool, last_seq: int, change: Change | None
    ) -> None:
        """Record chunks that were written, and delete the parts up to `last_seq`, which they contain."""

        def write(connection: Connection) -> Sequence[int]:
            for chunk in chunks:
                connection.execute(_DELETE_CHUNK, {"log": this.name, "first": chunk.first})
                connection.execute(_INSERT_CHUNK, _chunk_row(this.name, chunk))
            _put_state(connection, this.name, completed)
            connection.execute(_DELETE_PARTS, {"log": this.name, "last": last_seq})
            if change:
                self._store.feed.add(connection, change)
            return self._shorten(connection, this.name)

        try:
            deleted = await self._store.feed.write(write)
        except ConstraintViolated as error:
            raise Temporary(f"another checkpoint of the log {this.name} was stored in between") from error
        for first in deleted:
            try:
                await self._blobs.delete(this.chunk(first))
            except PipecdError as error:
                log.warning("log_chunk_not_deleted", log=this.name, error=str(error))

    def _shorten(self, connection: Connection, name: str) -> Sequence[int]:
        """Leave out chunks in the middle of a log that is too long; returns their first indices."""
        rows = connection.execute(_CHUNKS, {"log": name}).all()
        excess = sum(row.size for row in rows) - self._settings.max_size
        start, left_out = 0, []
        for row in rows[:-1]:
            start += row.size
            if excess > 0 and start > self._settings.max_size // 2:
                left_out.append(row)
                excess -= row.size
        if not left_out:
            return ()
        for row in left_out:
            connection.execute(_DELETE_CHUNK, {"log": name, "first": row.first_index})
        more = {
            "log": name,
            "more_lines": sum(row.line_count for row in left_out),
            "more_size": sum(row.size for row in left_out),
            "last": left_out[-1].last_index,
        }
        connection.execute(_LEAVE_OUT, more)
        return [row.first_index for row in left_out]

    async def _import_file(self, this: _Log) -> bool:
        """Store a file of PipeCD or of an earlier version as chunks; whether there was one."""
        if await self._store.database.read(lambda connection: _load_state(connection, this.name)):
            return False
        try:
            data = await self._blobs.read(this.file)
        except NotFound:
            return False
        blocks, completed = await asyncio.to_thread(_parse_file, data)
        new = {block.index: block for block in blocks}
        chunks = await asyncio.to_thread(_split, new, [], self._settings.chunk_size)
        for chunk in chunks:
            await self._blobs.write(this.chunk(chunk.first), chunk.data)
        await self._record(this, chunks, completed, 0, None)
        return True

    def _notice(self, state: _State) -> LogBlock:
        text = (
            f"[{state.left_out_lines:,} lines ({state.left_out_size / 2**20:.1f} MiB) are left out here:"
            f" the log of a stage is limited to {self._settings.max_size / 2**20:.0f} MiB]"
        )
        return LogBlock(index=state.left_out_index, log=text, created_at=1)


class _ChangedMeanwhile(Exception):
    """A checkpoint moved or deleted a range after the ranges were read."""


#: Blocks that are handled on the event loop.
_MAX_BLOCKS_ON_LOOP = 1_000
#: In bytes, of a part or chunk that is decoded on the event loop.
_MAX_SIZE_ON_LOOP = 64 * 1024
#: Attempts of a read while checkpoints change the log.
_READ_TRIES = 5


async def _retried(read: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_READ_TRIES):
        try:
            return await read()
        except _ChangedMeanwhile:
            continue
    raise Temporary("the log is being written, or one of its objects is missing in the object store")


async def _in_thread_if_many(
    blocks: Sized, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs
) -> T:
    """Call `function`, whose time grows with the number of `blocks`, without blocking the event loop."""
    if len(blocks) > _MAX_BLOCKS_ON_LOOP:
        return await asyncio.to_thread(function, *arguments, **keywords)
    return function(*arguments, **keywords)


async def _decode(data: bytes) -> Sequence[LogBlock]:
    if len(data) > _MAX_SIZE_ON_LOOP:
        return (await asyncio.to_thread(ReportStageLogsRequest.FromString, data)).blocks
    return ReportStageLogsRequest.FromString(data).blocks


def _batch(ranges: Sequence[_Range], max_size: int) -> Sequence[_Range]:
    """The first of `ranges` that are loaded at once: a chunk, or parts up to about `max_size` bytes."""
    if not ranges[0].seq:
        return ranges[:1]
    batch: list[_Range] = []
    size = 0
    for part in ranges[:_BATCH]:
        if not part.seq or (batch and size >= max_size):
            break
        batch.append(part)
        size += part.size
    return batch


def _part(name: str, blocks: Sequence[LogBlock]) -> dict[str, Any]:
    data = _encode(blocks)
    indices = [block.index for block in blocks]
    return {
        "name": name,
        "data": data,
        "first_index": min(indices),
        "last_index": max(indices),
        "size": len(data),
    }


def _encode(blocks: Iterable[LogBlock]) -> bytes:
    return ReportStageLogsRequest(blocks=blocks).SerializeToString()


def _add(blocks: dict[int, LogBlock], more: Iterable[LogBlock], offset: int | None) -> None:
    """Add the blocks with index `offset` or greater that are not among `blocks` yet."""
    for block in more:
        if offset is None or block.index >= offset:
            blocks.setdefault(block.index, block)


def _cut(
    blocks: Mapping[int, LogBlock], end: int | None, max_size: int, max_lines: int
) -> Sequence[LogBlock]:
    """The first blocks with an index below `end`, up to `max_size` bytes and `max_lines`; at least one."""
    page: list[LogBlock] = []
    size = 0
    for index in sorted(blocks)[:max_lines]:
        size += blocks[index].ByteSize()
        if (end is not None and index >= end) or (page and size > max_size):
            break
        page.append(blocks[index])
    return page


def _cut_start(blocks: Mapping[int, LogBlock], max_size: int) -> Sequence[LogBlock]:
    """The last blocks, up to `max_size` bytes; at least one."""
    page: list[LogBlock] = []
    size = 0
    for index in sorted(blocks, reverse=True):
        size += blocks[index].ByteSize()
        if page and size > max_size:
            break
        page.append(blocks[index])
    return page[::-1]


def _split(blocks: Mapping[int, LogBlock], stored: Sequence[_Range], chunk_size: int) -> list[_Chunk]:
    """Chunks of the blocks that no range of `stored`, which is in order, contains. None spans a range."""
    chunks: list[_Chunk] = []
    pending: list[LogBlock] = []
    firsts, size, last_position = [range_.first for range_ in stored], 0, 0
    for index in sorted(blocks):
        block = blocks[index]
        position = bisect_right(firsts, index)
        if position and index <= stored[position - 1].last:
            continue
        block_size = block.ByteSize()
        if pending and (size + block_size > chunk_size or position != last_position):
            chunks.append(_chunk(pending))
            pending, size = [], 0
        pending.append(block)
        size, last_position = size + block_size, position
    if pending:
        chunks.append(_chunk(pending))
    return chunks


def _chunk(blocks: Sequence[LogBlock]) -> _Chunk:
    return _Chunk(first=blocks[0].index, last=blocks[-1].index, lines=len(blocks), data=_encode(blocks))


def _parse_file(data: bytes) -> tuple[list[LogBlock], bool]:
    """The blocks of a file of PipeCD, and whether it is complete."""
    lines = [line for line in data.decode(errors="replace").split("\n") if line]
    completed = bool(lines) and lines[-1] == _END
    return [proto_json.loads(LogBlock, line) for line in (lines[:-1] if completed else lines)], completed


def _load_state(connection: Connection, name: str) -> _State | None:
    row = connection.execute(_STATE, {"log": name}).one_or_none()
    if row is None:
        return None
    return _State(
        completed=bool(row.completed),
        left_out_lines=row.left_out_lines,
        left_out_size=row.left_out_size,
        left_out_index=row.left_out_index,
    )


def _put_state(connection: Connection, name: str, completed: bool) -> None:
    """Record that the log exists and, if so, that it is completed, which is final."""
    if connection.execute(_STATE, {"log": name}).one_or_none() is None:
        connection.execute(_INSERT_STATE, {"name": name, "completed": int(completed)})
    elif completed:
        connection.execute(_COMPLETE, {"log": name})


def _chunk_row(name: str, chunk: _Chunk) -> dict[str, object]:
    return {
        "name": name,
        "first_index": chunk.first,
        "last_index": chunk.last,
        "line_count": chunk.lines,
        "size": len(chunk.data),
    }


def _change(deployment: Deployment, stage_id: str) -> Change:
    return Change(kind=CHANGE_KIND, project_id=deployment.project_id, id=deployment.id, detail=stage_id)

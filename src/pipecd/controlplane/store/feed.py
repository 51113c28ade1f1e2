"""The change feed: notifies watching agents and browsers of changes.

Each write adds a row in its own transaction. Writes of this process wake the reader at once, and then the
readers of other replicas (`Database.notify`). Polling finds what they miss: writes of a replica that was
killed before it could notify, and on SQLite, which has no notifications, all writes of others. Transactions
that commit late may add rows with lower sequence numbers than rows already read, so the reader re-reads the
last numbers and skips known rows.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from prometheus_client import Histogram

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock, set_within
from pipecd.controlplane.settings import FeedSettings
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.statements import Connection, Write
from pipecd.controlplane.store.tables import changes
from pipecd.errors import Temporary

log = structlog.get_logger()

T = TypeVar("T")

#: `Change.detail` of a change that an agent made to its own record.
BY_AGENT = "agent"


@dataclass(frozen=True, kw_only=True)
class Change:
    """`kind` is the kind of the record, or a kind passed to `Store.announce`, as is `detail`.

    `detail` is BY_AGENT if the record's own agent made the change, so that the agent is not notified of it.
    """

    kind: str
    project_id: str
    id: str
    piped_id: str = ""
    detail: str = ""


def of_record(kind: str, id: str) -> str:
    """The topic of changes of this record."""
    return f"{kind}/{id}"


def of_agent(piped_id: str) -> str:
    """The topic of changes of records that belong to this agent."""
    return f"agent/{piped_id}"


def of_project(kind: str, project_id: str) -> str:
    """The topic of changes of this kind in the project."""
    return f"{project_id}/*/{kind}"


_INSERT = sa.insert(changes).inline()
_LAST_SEQ = sa.select(sa.func.max(changes.c.seq))
_MAX_ROWS = 5000
_AFTER = sa.select(changes).where(changes.c.seq > sa.bindparam("last"))
_AFTER = _AFTER.order_by(changes.c.seq).limit(_MAX_ROWS)

LAG = Histogram(
    "pipecd_feed_lag_seconds",
    "From a write, or the notice of one of another replica, until streams are notified of it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

#: Replaces any number of changes that a subscriber missed.
RESYNC = Change(kind="resync", project_id="", id="")


class Feed:
    """One reader of the table serves all subscribers in this process."""

    def __init__(self, database: Database, clock: Clock, settings: FeedSettings) -> None:
        self._database, self._clock, self._settings = database, clock, settings
        self._wakeup = asyncio.Event()
        #: Subscribers were notified of every change that was committed between these monotonic times.
        self._notified_since, self._notified_until = math.inf, -math.inf
        #: Monotonic time of the first write since the last read, as far as this process was notified of it.
        self._woken_at: float | None = None
        #: Set by a write of this process until the other replicas are notified.
        self._written = asyncio.Event()
        self._forget: list[Callable[[Change], None]] = []
        #: Those that get every change.
        self._queues: set[asyncio.Queue[Change]] = set()
        #: Topic → those that subscribed to it, each with what it wants.
        self._of_topics: defaultdict[str, dict[asyncio.Queue[Change], Callable[[Change], bool]]]
        self._of_topics = defaultdict(dict)

    def call_first(self, forget: Callable[[Change], None]) -> None:
        """Call `forget` with every change before subscribers get it: for caches that subscribers read."""
        self._forget.append(forget)

    def notified_until(self, since: float) -> float:
        """Until when subscribers were notified of every change that was committed after `since` (monotonic).

        At least `since`: before it, changes are not asked for.
        """
        return max(since, self._notified_until) if self._notified_since <= since else since

    async def write(self, function: Callable[[Connection], T], after: Callable[[], None] = lambda: None) -> T:
        """Like `Database.write`, for a transaction that adds changes: wakes the reader when it has ended."""

        def notify() -> None:
            after()
            self._wake_reader()
            self._written.set()

        return await self._database.write(function, notify)

    def row(self, change: Change) -> Write:
        """Adds `change`, as `add`, for `Connection.finish`."""
        row = {
            "project_id": change.project_id,
            "piped_id": change.piped_id,
            "kind": change.kind,
            "id": change.id,
            "detail": change.detail,
            "at": int(self._clock.now()),
        }
        return Write(_INSERT, row)

    def add(self, connection: Connection, change: Change) -> None:
        """Add `change` in the transaction of the write itself; see `write`."""
        row = self.row(change)
        connection.execute(row.statement, row.values)

    async def run(self) -> None:
        """Read the table and pass every change to the subscribers, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(), name="change feed reader")
            if not self._database.sqlite:
                tasks.create_task(self._notify_replicas(), name="change feed notifications")
                tasks.create_task(self._listen(), name="change feed listener")

    async def _notify_replicas(self) -> None:
        """After transactions, not in them: PostgreSQL would commit those that notify one after another."""
        while True:
            await self._written.wait()
            self._written.clear()
            try:
                await self._database.notify()
            except Temporary as error:
                log.warning("replicas_not_notified", error=str(error))
            await self._clock.sleep(self._settings.min_interval)

    async def _listen(self) -> None:
        while True:
            try:
                await self._database.listen(self._wake_reader, self._clock)
            except Temporary as error:
                log.warning("change_feed_listener_failed", error=str(error))
            await self._clock.sleep(self._settings.listen_retry_interval)

    def _wake_reader(self) -> None:
        if self._woken_at is None:
            self._woken_at = self._clock.monotonic()
        self._wakeup.set()

    async def _read(self) -> None:
        last: int | None = None
        seen = BoundedDict[int, None](4 * self._settings.overlap)
        while True:
            # Clear before reading, so that a write during the read triggers another read at once.
            self._wakeup.clear()
            woken_at, self._woken_at = self._woken_at, None
            try:
                if last is None:
                    last = await self._load_last_seq()
                    self._notified_since = self._clock.monotonic()
                began_at = self._clock.monotonic()
                rows = await self._load_after(last)
                are_all = len(rows) < _MAX_ROWS
            except Temporary as error:
                log.warning("change_feed_read_failed", error=str(error))
                rows, are_all = [], False
                await self._clock.sleep(self._settings.poll_interval)
            for row in rows:
                if row.seq in seen:
                    continue
                seen[row.seq] = None
                last = max(last or 0, row.seq)
                self._publish(_change(row))
            if are_all:
                self._notified_until = began_at
            if woken_at is not None and rows:
                LAG.observe(self._clock.monotonic() - woken_at)
            next_read = self._clock.monotonic() + self._settings.min_interval
            await set_within(self._clock, self._wakeup, self._settings.poll_interval)
            if (remaining := next_read - self._clock.monotonic()) > 0:
                await self._clock.sleep(remaining)

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[Change]]:
        """A queue of every change from now on; RESYNC replaces changes that a slow subscriber missed."""
        queue: asyncio.Queue[Change] = asyncio.Queue(self._settings.max_unread)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.remove(queue)

    @contextmanager
    def subscribe_to(
        self, topics: Collection[str], wanted: Callable[[Change], bool]
    ) -> Iterator[asyncio.Queue[Change]]:
        """As `subscribe`, for one of thousands of subscribers: only changes of its topics that it wants.

        A change costs the same however many others there are.
        """
        queue: asyncio.Queue[Change] = asyncio.Queue(self._settings.max_unread)
        for topic in topics:
            self._of_topics[topic][queue] = wanted
        try:
            yield queue
        finally:
            for topic in topics:
                subscribers = self._of_topics[topic]
                del subscribers[queue]
                if not subscribers:
                    del self._of_topics[topic]

    async def prune(self) -> None:
        """Delete rows that every reader has read."""
        oldest = int(self._clock.now() - self._settings.retention)
        statement = sa.delete(changes).where(changes.c.at < oldest)
        await self._database.write(lambda connection: connection.execute(statement))

    def _publish(self, change: Change) -> None:
        for forget in self._forget:
            forget(change)
        of_topics = {
            queue
            for topic in _topics(change)
            for queue, wanted in self._of_topics.get(topic, {}).items()
            if wanted(change)
        }
        for queue in self._queues | of_topics if of_topics else self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(RESYNC)
            queue.put_nowait(change)

    async def _load_last_seq(self) -> int:
        ((last,),) = await self._database.rows(_LAST_SEQ)
        return last or 0

    async def _load_after(self, last: int) -> Sequence[Any]:
        overlap = 0 if self._database.sqlite else self._settings.overlap
        return await self._database.rows(_AFTER, {"last": last - overlap})


def _change(row: Any) -> Change:
    return Change(
        kind=row.kind, project_id=row.project_id, piped_id=row.piped_id, id=row.id, detail=row.detail
    )


def _topics(change: Change) -> Sequence[str]:
    topics = of_record(change.kind, change.id), of_project(change.kind, change.project_id)
    return (*topics, of_agent(change.piped_id)) if change.piped_id else topics

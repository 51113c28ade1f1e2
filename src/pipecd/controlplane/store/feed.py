"""The change feed: what changed since, for agents and browsers that watch.

A row a write, in the write's own transaction. Readers in this process are woken at once; writes of
other replicas are seen by looking every half second. Rows that other transactions commit late may carry
lower numbers than ones already seen, so a reader looks back a little and skips what it knows.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.tables import changes
from pipecd.errors import Temporary

log = structlog.get_logger()

LOOK_SECONDS = 0.5
LOOK_BACK = 200
#: A reader that is behind by more rows than this is told to fetch everything anew.
TOO_FAR_BEHIND = 2000
KEPT_SECONDS = 600


BY_AGENT = "agent"


@dataclass(frozen=True, kw_only=True)
class Change:
    """`kind` is a record's kind, or a word of `Store.announce`. `detail` is the announcement's.

    A record that its own agent changed carries BY_AGENT, so that the agent is not told what it said.
    """

    kind: str
    project_id: str
    id: str
    piped_id: str = ""
    detail: str = ""


#: Stands for any number of changes that a reader missed.
RESYNC = Change(kind="resync", project_id="", id="")


class Feed:
    """One reader of the table serves every watcher of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._woken = asyncio.Event()
        self._queues: set[asyncio.Queue[Change]] = set()

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[AsyncConnection]:
        """A transaction with changes in it: watchers look when it ends, also when its caller has gone."""
        try:
            async with self._database.write() as connection:
                yield connection
        finally:
            self._woken.set()

    async def add(self, connection: AsyncConnection, change: Change) -> None:
        """Within the transaction of the write that it tells of: one of `telling`."""
        await connection.execute(
            sa.insert(changes).values(
                project_id=change.project_id,
                piped_id=change.piped_id,
                kind=change.kind,
                id=change.id,
                detail=change.detail,
                at=int(time.time()),
            )
        )

    async def run(self) -> None:
        """Reads the table and hands every change to the watchers, until cancelled."""
        last: int | None = None
        seen: OrderedDict[int, None] = OrderedDict()
        while True:
            # Before the look: what is written during it is looked for at once.
            self._woken.clear()
            try:
                last = await self._newest() if last is None else last
                rows = await self._after(last)
            except Temporary as error:
                log.warning("change feed pauses", why=str(error))
                rows = []
                await asyncio.sleep(LOOK_SECONDS)
            for seq, change in rows:
                if seq in seen:
                    continue
                seen[seq] = None
                last = max(last or 0, seq)
                self._hand_out(change)
            while len(seen) > 4 * LOOK_BACK:
                seen.popitem(last=False)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Change]]:
        """Every change from now on; RESYNC in place of what a slow reader missed."""
        queue: asyncio.Queue[Change] = asyncio.Queue(TOO_FAR_BEHIND)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def prune(self) -> None:
        """Deletes rows that every reader has long seen."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(changes).where(changes.c.at < int(time.time()) - KEPT_SECONDS))

    def _hand_out(self, change: Change) -> None:
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(RESYNC)
            queue.put_nowait(change)

    async def _newest(self) -> int:
        async with self._database.read() as connection:
            return (await connection.execute(sa.select(sa.func.max(changes.c.seq)))).scalar() or 0

    async def _after(self, last: int) -> list[tuple[int, Change]]:
        behind = 0 if self._database.sqlite else LOOK_BACK
        query = sa.select(changes).where(changes.c.seq > last - behind).order_by(changes.c.seq).limit(5000)
        async with self._database.read() as connection:
            return [
                (
                    row.seq,
                    Change(
                        kind=row.kind,
                        project_id=row.project_id,
                        piped_id=row.piped_id,
                        id=row.id,
                        detail=row.detail,
                    ),
                )
                for row in await connection.execute(query)
            ]

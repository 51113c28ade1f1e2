"""Stage logs: lines arrive in parts, are kept from the first moment, and become a file at each checkpoint.

A part is a row of the database, so any replica can show it at once; a checkpoint merges parts into the
stage's file and drops them. Lines are merged by index: saying one twice changes nothing.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from pipecd import proto_json
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import Blobs, segment
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.tables import log_parts
from pipecd.errors import NotFound
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock

#: Closes a file whose stage is over.
_END = "EOL"
#: What the change feed calls a log that grew.
CHANGED = "stage_log"


class StageLogs:
    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs

    async def append(
        self, deployment: Deployment, stage_id: str, retried: int, blocks: Sequence[LogBlock]
    ) -> None:
        """Lines that no checkpoint has seen yet."""
        if not blocks:
            return
        part = ReportStageLogsRequest(blocks=blocks).SerializeToString()
        async with self._store.feed.telling() as connection:
            values = {"name": _name(deployment.id, stage_id, retried), "data": part}
            await connection.execute(sa.insert(log_parts).values(values))
            await self._store.feed.add(connection, _change(deployment, stage_id))

    async def checkpoint(
        self, deployment: Deployment, stage_id: str, retried: int, blocks: Sequence[LogBlock], completed: bool
    ) -> None:
        """All lines since the last checkpoint; they and the kept parts become the file."""
        path = _path(deployment.id, stage_id, retried)
        stored, ended = await self._file(path)
        parts, last = await self._parts(deployment.id, stage_id, retried)
        merged = _merged(stored, parts, blocks)
        if completed or len(merged) != len(stored):
            lines = [proto_json.dumps(block) for block in merged]
            if completed or ended:
                lines.append(_END)
            await self._blobs.write(path, "".join(f"{line}\n" for line in lines).encode())
        mine = log_parts.c.name == _name(deployment.id, stage_id, retried)
        async with self._store.feed.telling() as connection:
            await connection.execute(sa.delete(log_parts).where(mine & (log_parts.c.seq <= last)))
            await self._store.feed.add(connection, _change(deployment, stage_id))

    async def read(
        self, deployment_id: str, stage_id: str, retried: int, offset: int = 0
    ) -> tuple[Sequence[LogBlock], bool]:
        """The lines whose index is `offset` or more, and whether these are all there will be.

        Raises NotFound when the stage has no log.
        """
        # Parts first: a checkpoint in between moves lines into the file, never out of sight.
        parts, _ = await self._parts(deployment_id, stage_id, retried)
        stored, ended = await self._file(_path(deployment_id, stage_id, retried))
        blocks = _merged(stored, parts)
        if not blocks and not ended:
            raise NotFound(f"stage {stage_id} of deployment {deployment_id} has no log yet")
        return [block for block in blocks if block.index >= offset], ended

    async def _parts(self, deployment_id: str, stage_id: str, retried: int) -> tuple[list[LogBlock], int]:
        """The kept lines, and the number of the last part."""
        name = _name(deployment_id, stage_id, retried)
        query = sa.select(log_parts.c.seq, log_parts.c.data).where(log_parts.c.name == name)
        async with self._store.database.read() as connection:
            rows = (await connection.execute(query.order_by(log_parts.c.seq))).all()
        blocks = [block for row in rows for block in ReportStageLogsRequest.FromString(row.data).blocks]
        return blocks, rows[-1].seq if rows else 0

    async def _file(self, path: str) -> tuple[list[LogBlock], bool]:
        try:
            text = (await self._blobs.read(path)).decode()
        except NotFound:
            return [], False
        lines = [line for line in text.split("\n") if line]
        ended = bool(lines) and lines[-1] == _END
        return [proto_json.loads(LogBlock, line) for line in (lines[:-1] if ended else lines)], ended


def _merged(*parts: Sequence[LogBlock]) -> list[LogBlock]:
    by_index: dict[int, LogBlock] = {}
    for part in parts:
        for block in part:
            by_index.setdefault(block.index, block)
    return [by_index[index] for index in sorted(by_index)]


def _name(deployment_id: str, stage_id: str, retried: int) -> str:
    return f"{deployment_id}/{stage_id}/{retried}"


def _path(deployment_id: str, stage_id: str, retried: int) -> str:
    return f"log/{segment(deployment_id)}/{segment(stage_id)}/{retried}.txt"


def _change(deployment: Deployment, stage_id: str) -> Change:
    return Change(kind=CHANGED, project_id=deployment.project_id, id=deployment.id, detail=stage_id)

"""Stage logs: lines are stored as they arrive and merged into the stage's file at each checkpoint.

Each report is a row in the database (a part), so that every replica can show it at once. A checkpoint merges
the parts into the file and deletes them. Lines are identified by index; a line reported twice is stored once.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from pipecd import proto_json
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import Blobs, segment
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.statements import Connection
from pipecd.controlplane.store.tables import log_parts
from pipecd.errors import NotFound
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock

#: Last line of the file of a completed stage.
_END = "EOL"
#: Kind of the change in the change feed when a log has new lines.
CHANGE_KIND = "stage_log"


_SAME_LOG = log_parts.c.name == sa.bindparam("log")
_PARTS = sa.select(log_parts.c.seq, log_parts.c.data).where(_SAME_LOG).order_by(log_parts.c.seq)
_INSERT = sa.insert(log_parts).inline()
_DELETE = sa.delete(log_parts).where(_SAME_LOG, log_parts.c.seq <= sa.bindparam("last"))


class StageLogs:
    def __init__(self, store: Store, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs

    async def append(
        self, deployment: Deployment, stage_id: str, retried: int, blocks: Sequence[LogBlock]
    ) -> None:
        """Store lines that are not part of a checkpoint yet."""
        if not blocks:
            return
        part = ReportStageLogsRequest(blocks=blocks).SerializeToString()
        values = {"name": _name(deployment.id, stage_id, retried), "data": part}
        await self._write(_INSERT, values, _change(deployment, stage_id))

    async def checkpoint(
        self, deployment: Deployment, stage_id: str, retried: int, blocks: Sequence[LogBlock], completed: bool
    ) -> None:
        """Merge `blocks`, all lines since the last checkpoint, and the stored parts into the file."""
        path = _path(deployment.id, stage_id, retried)
        stored, already_completed = await self._load_file(path)
        parts, last = await self._load_parts(deployment.id, stage_id, retried)
        merged = _merge(stored, parts, blocks)
        if completed or len(merged) != len(stored):
            lines = [proto_json.dumps(block) for block in merged]
            if completed or already_completed:
                lines.append(_END)
            await self._blobs.write(path, "".join(f"{line}\n" for line in lines).encode())
        merged_parts = {"log": _name(deployment.id, stage_id, retried), "last": last}
        await self._write(_DELETE, merged_parts, _change(deployment, stage_id))

    async def read(
        self, deployment_id: str, stage_id: str, retried: int, offset: int = 0
    ) -> tuple[Sequence[LogBlock], bool]:
        """The lines with index `offset` or greater, and whether the log is complete.

        Raises NotFound if the stage has no log.
        """
        # Read the parts before the file: a checkpoint in between only moves lines from parts to the file.
        parts, _ = await self._load_parts(deployment_id, stage_id, retried)
        stored, complete = await self._load_file(_path(deployment_id, stage_id, retried))
        blocks = _merge(stored, parts)
        if not blocks and not complete:
            raise NotFound(f"stage {stage_id} of deployment {deployment_id} has no log yet")
        return [block for block in blocks if block.index >= offset], complete

    async def _write(
        self, statement: sa.Executable, parameters: Mapping[str, object], change: Change
    ) -> None:
        """Execute `statement` and add `change` to the change feed in one transaction."""

        def write(connection: Connection) -> None:
            connection.execute(statement, parameters)
            self._store.feed.add(connection, change)

        await self._store.feed.write(write)

    async def _load_parts(
        self, deployment_id: str, stage_id: str, retried: int
    ) -> tuple[list[LogBlock], int]:
        """The lines of the stored parts, and the sequence number of the last part."""
        rows = await self._store.database.rows(_PARTS, {"log": _name(deployment_id, stage_id, retried)})
        blocks = [block for row in rows for block in ReportStageLogsRequest.FromString(row.data).blocks]
        return blocks, rows[-1].seq if rows else 0

    async def _load_file(self, path: str) -> tuple[list[LogBlock], bool]:
        try:
            text = (await self._blobs.read(path)).decode()
        except NotFound:
            return [], False
        lines = [line for line in text.split("\n") if line]
        complete = bool(lines) and lines[-1] == _END
        return [proto_json.loads(LogBlock, line) for line in (lines[:-1] if complete else lines)], complete


def _merge(*parts: Sequence[LogBlock]) -> list[LogBlock]:
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
    return Change(kind=CHANGE_KIND, project_id=deployment.project_id, id=deployment.id, detail=stage_id)

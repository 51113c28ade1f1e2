"""Deliveries: one row for each deployment that ended, written in the transaction that ends it.

`additions` is called by the store for every write of a record; `load_after` reads the rows of a project.
The measurements are those of `model.delivery`.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message

from pipecd.controlplane.store import tables
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.kinds import format_labels
from pipecd.controlplane.store.statements import Connection, Write
from pipecd.model.delivery import Ended, History, measure
from pipecd.model.deployment import MAX_TRACE_COMMITS
from pipecd.model.plan import WAIT_APPROVAL
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from pipecd.wire import kind_from

#: Rows per read.
BATCH_SIZE = 20_000
#: Rows that are read again: rows of PostgreSQL become visible in the order of their commits.
OVERLAP = 500

#: Stages that wait and change nothing.
_WAITING = frozenset({"WAIT", WAIT_APPROVAL})
_RAN = frozenset({StageStatus.RUNNING, StageStatus.SUCCESS, StageStatus.FAILURE, StageStatus.EXITED})
_COLUMN = tables.deliveries.c
_HISTORY = (
    sa.select(_COLUMN.commit_at, _COLUMN.succeeded_at, _COLUMN.waiting_since, _COLUMN.failing_since)
    .where(_COLUMN.application_id == sa.bindparam("application_id"))
    .order_by(_COLUMN.seq.desc())
    .limit(1)
)
_TRACE = (
    sa.select(tables.traces.c.data)
    .where(
        tables.traces.c.project_id == sa.bindparam("project_id"),
        tables.traces.c.commit_hash == sa.bindparam("commit_hash"),
    )
    .limit(1)
)
_INSERT = sa.insert(tables.deliveries).inline()
_AFTER = (
    sa.select(
        _COLUMN.seq,
        _COLUMN.application_id,
        _COLUMN.kind_name,
        _COLUMN.labels,
        _COLUMN.status,
        _COLUMN.failed,
        _COLUMN.completed_at,
        _COLUMN.lead,
        _COLUMN.restore,
        _COLUMN.undone_at,
        _COLUMN.failing_since,
    )
    .where(
        _COLUMN.project_id == sa.bindparam("project_id"),
        _COLUMN.seq > sa.bindparam("after"),
    )
    .order_by(_COLUMN.seq)
    .limit(BATCH_SIZE)
)


def additions(connection: Connection, before: Message, after: Message, now: int) -> Sequence[Write]:
    """The row to add if the write from `before` to `after` ends a deployment. `now` is epoch seconds."""
    if not isinstance(after, Deployment) or not isinstance(before, Deployment):
        return ()
    if DeploymentStatus(before.status).final or not DeploymentStatus(after.status).final:
        return ()
    row = connection.execute(_HISTORY, {"application_id": after.application_id}).one_or_none()
    history = History(**row._asdict()) if row else History()
    values, _ = row_of(history, after, _source_time(connection, after), now)
    return (Write(_INSERT, values),)


def row_of(
    history: History, deployment: Deployment, source_at: int, now: int
) -> tuple[dict[str, object], History]:
    """The row of an ended deployment, and the history after it.

    Times in the future, which an agent may report, are taken as `now`.
    """
    ended = Ended(
        status=DeploymentStatus(deployment.status),
        changed=any(_ran(stage) and stage.name not in _WAITING for stage in deployment.stages),
        rolled_back=any(_ran(stage) and stage.rollback for stage in deployment.stages),
        completed_at=min(max(deployment.completed_at, 0) or now, now),
        commit_at=min(max(deployment.trigger.commit.created_at, 0), now),
        commit_message=deployment.trigger.commit.message,
        source_at=min(source_at, now),
    )
    delivery = measure(history, ended)
    row = {
        "deployment_id": deployment.id,
        "project_id": deployment.project_id,
        "application_id": deployment.application_id,
        "kind_name": kind_from(deployment),
        "labels": format_labels(deployment.labels),
        "status": deployment.status,
        "failed": int(ended.failed),
        "completed_at": ended.completed_at,
        "lead": delivery.lead,
        "restore": delivery.restore,
        "undone_at": delivery.undone_at,
        "commit_at": delivery.history.commit_at,
        "succeeded_at": delivery.history.succeeded_at,
        "waiting_since": delivery.history.waiting_since,
        "failing_since": delivery.history.failing_since,
    }
    return row, delivery.history


async def load_after(database: Database, project_id: str, seq: int) -> Sequence[Any]:
    """At most `BATCH_SIZE` rows of the project after `seq`, in ascending order."""
    return await database.rows(_AFTER, {"project_id": project_id, "after": seq})


def _source_time(connection: Connection, deployment: Deployment) -> int:
    """Time of the first source commit that caused the deployment; 0 if it is unknown."""
    commit = deployment.deployment_trace_commit_hash
    if not commit:
        return 0
    commits = list(deployment.deployment_trace_commit_hashes) or [commit]
    rows = (
        connection.execute(_TRACE, {"project_id": deployment.project_id, "commit_hash": each}).one_or_none()
        for each in commits[:MAX_TRACE_COMMITS]
    )
    times = [int(DeploymentTrace.FromString(row.data).commit_timestamp) for row in rows if row]
    return min(filter(None, times), default=0)


def _ran(stage: Any) -> bool:
    return StageStatus(stage.status) in _RAN

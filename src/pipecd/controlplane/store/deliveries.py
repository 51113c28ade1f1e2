"""Deliveries: one row for each deployment that ended, written in the transaction that ends it.

`additions` is called by the store for every write of a record; `fill` adds those of imported deployments;
`load_after` reads the rows of a project.
The measurements are those of `model.delivery`.
"""

from collections.abc import Sequence
from functools import partial
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
from pipecd.wire import is_rollback, kind_from

#: Rows per read: bounds the time in which PostgreSQL's answer blocks the event loop.
BATCH_SIZE = 4_000
#: Deployments that `fill` has in memory.
_FILL_BATCH = 500
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
_DEPLOYMENT = tables.deployments.c
_IS_FINAL = _DEPLOYMENT.status.in_([status for status in DeploymentStatus if status.final])
_AFTER_TOUCHED = sa.bindparam("after", 0, type_=sa.BigInteger)
_WITHOUT_ROWS = (
    sa.select(_DEPLOYMENT.project_id, _DEPLOYMENT.application_id)
    .where(
        _IS_FINAL,
        ~sa.exists()
        .where(_COLUMN.application_id == _DEPLOYMENT.application_id)
        .correlate_except(tables.deliveries),
    )
    .distinct()
)
_ENDED = (
    sa.select(_DEPLOYMENT.id, _DEPLOYMENT.touched, _DEPLOYMENT.data)
    .where(
        _DEPLOYMENT.project_id == sa.bindparam("project_id", ""),
        _DEPLOYMENT.application_id == sa.bindparam("application_id", ""),
        _IS_FINAL,
        sa.or_(
            _DEPLOYMENT.touched > _AFTER_TOUCHED,
            sa.and_(_DEPLOYMENT.touched == _AFTER_TOUCHED, _DEPLOYMENT.id > sa.bindparam("after_id", "")),
        ),
    )
    .order_by(_DEPLOYMENT.touched, _DEPLOYMENT.id)
    .limit(sa.bindparam("size", 0))
)
_AFTER = (
    sa.select(
        _COLUMN.application_id,
        _COLUMN.kind_name,
        _COLUMN.labels,
        _COLUMN.completed_at,
        _COLUMN.status,
        _COLUMN.failed,
        _COLUMN.lead,
        _COLUMN.restore,
        _COLUMN.undone_at,
        _COLUMN.failing_since,
        _COLUMN.seq,
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


async def fill(database: Database, *, batch_size: int = _FILL_BATCH) -> int:
    """Add the rows of the ended deployments of applications that have no rows; returns how many.

    In the order of the last writes of the deployments: that is how they ended. `batch_size` are read at a
    time.
    """
    added = 0
    for project_id, application_id in await database.rows(_WITHOUT_ROWS):
        added += await database.write(partial(_fill_application, project_id, application_id, batch_size))
    return added


def _fill_application(project_id: str, application_id: str, batch_size: int, connection: Connection) -> int:
    of_application = {"project_id": project_id, "application_id": application_id}
    if connection.execute(_HISTORY, {"application_id": application_id}).one_or_none():
        return 0
    history, added, touched, id = History(), 0, 0, ""
    while True:
        parameters = {**of_application, "after": touched, "after_id": id, "size": batch_size}
        rows = connection.execute(_ENDED, parameters).all()
        for row in rows:
            deployment = Deployment.FromString(row.data)
            source_at = _source_time(connection, deployment)
            values, history = row_of(history, deployment, source_at, now=row.touched // 1_000_000)
            connection.execute(_INSERT, values)
        added += len(rows)
        if len(rows) < batch_size:
            return added
        touched, id = rows[-1].touched, rows[-1].id


def row_of(
    history: History, deployment: Deployment, source_at: int, now: int
) -> tuple[dict[str, object], History]:
    """The row of an ended deployment, and the history after it.

    Times in the future, which an agent may report, are taken as `now`.
    """
    ended = Ended(
        status=DeploymentStatus(deployment.status),
        changed=any(_ran(stage) and stage.name not in _WAITING for stage in deployment.stages),
        rolled_back=any(_ran(stage) and is_rollback(stage) for stage in deployment.stages),
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
    """At most `BATCH_SIZE` rows of the project after `seq`, in ascending order, as `model.insight.Row`."""
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

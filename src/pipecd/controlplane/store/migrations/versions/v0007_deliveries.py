"""Adds the deliveries, one for each deployment that has ended."""

import sqlalchemy as sa
from alembic import op

from pipecd.controlplane.store.deliveries import row_of
from pipecd.model.delivery import History
from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.trace_pb2 import DeploymentTrace

revision = "0007"
down_revision = "0006"

#: Rows per query.
BATCH_SIZE = 500
_HISTORY = ("commit_at", "succeeded_at", "waiting_since", "failing_since")
_MEASUREMENTS = ("lead", "restore", "undone_at")


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("deployment_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("application_id", sa.String(length=64), nullable=False),
        sa.Column("kind_name", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=name in _MEASUREMENTS)
            for name in ("status", "failed", "completed_at", *_MEASUREMENTS, *_HISTORY)
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("deployment_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_project_id_seq", "deliveries", ["project_id", "seq"], unique=False)
    op.create_index("ix_deliveries_application_id_seq", "deliveries", ["application_id", "seq"], unique=False)
    _fill()


def _fill() -> None:
    """Of each application, in the order of the last writes of its deployments: that is how they ended."""
    connection = op.get_bind()
    names = ("id", "project_id", "application_id", "touched", "status", "data")
    table = sa.table("deployments", *map(sa.column, names))
    order = (table.c.project_id, table.c.application_id, table.c.touched, table.c.id)
    final = [status for status in DeploymentStatus if status.final]
    query = sa.select(*order, table.c.data).where(table.c.status.in_(final)).order_by(*order)
    sources = _source_times(connection)
    after: tuple[object, ...] = ("", "", 0, "")
    application: tuple[object, ...] = ()
    history = History()
    while True:
        later = sa.tuple_(*order) > sa.tuple_(*(sa.literal(value) for value in after))
        rows = connection.execute(query.where(later).limit(BATCH_SIZE)).all()
        if not rows:
            return
        inserted = []
        for row in rows:
            if application != (row.project_id, row.application_id):
                application, history = (row.project_id, row.application_id), History()
            deployment = Deployment.FromString(row.data)
            source_at = sources.get((row.project_id, deployment.deployment_trace_commit_hash), 0)
            inserted_row, history = row_of(history, deployment, source_at, now=row.touched // 1_000_000)
            inserted.append(inserted_row)
        connection.execute(sa.insert(_deliveries(inserted[0])), inserted)
        after = tuple(rows[-1][: len(order)])


def _deliveries(row: dict[str, object]) -> sa.TableClause:
    return sa.table("deliveries", *map(sa.column, row))


def _source_times(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """Project and hash of a source commit → its time."""
    table = sa.table("traces", *map(sa.column, ("project_id", "commit_hash", "data")))
    return {
        (row.project_id, row.commit_hash): DeploymentTrace.FromString(row.data).commit_timestamp
        for row in connection.execute(sa.select(table.c.project_id, table.c.commit_hash, table.c.data))
    }

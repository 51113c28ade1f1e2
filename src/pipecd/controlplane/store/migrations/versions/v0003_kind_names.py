"""Replaces the number of an application's kind by its name: kinds of other packages have no number."""

import sqlalchemy as sa
from alembic import op

from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.wire import kind_from

revision = "0003"
down_revision = "0002"

#: Rows per query.
BATCH_SIZE = 500


def upgrade() -> None:
    for name, message_type in (("applications", Application), ("deployments", Deployment)):
        op.add_column(name, sa.Column("kind_name", sa.Text(), server_default="", nullable=False))
        table = sa.table(name, sa.column("id"), sa.column("data"), sa.column("kind_name"))
        _fill(table, message_type)
        op.drop_column(name, "kind")


def _fill(table: sa.TableClause, message_type: type[Application] | type[Deployment]) -> None:
    connection, after = op.get_bind(), ""
    update = (
        table.update().where(table.c.id == sa.bindparam("row")).values(kind_name=sa.bindparam("kind_name"))
    )
    while True:
        query = sa.select(table.c.id, table.c.data).where(table.c.id > after).order_by(table.c.id)
        rows = connection.execute(query.limit(BATCH_SIZE)).all()
        if not rows:
            return
        names = [{"row": row.id, "kind_name": kind_from(message_type.FromString(row.data))} for row in rows]
        connection.execute(update, names)
        after = rows[-1].id

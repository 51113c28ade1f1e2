"""Adds the index of stage logs: the ranges of their parts and chunks, and what was left out."""

import sqlalchemy as sa
from alembic import op

from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest

revision = "0004"
down_revision = "0003"


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def upgrade() -> None:
    op.create_table(
        "log_chunks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_index", sa.BigInteger(), nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "first_index"),
    )
    op.create_table(
        "stage_logs",
        sa.Column("name", sa.Text(), nullable=False),
        _number("completed"),
        _number("left_out_lines"),
        _number("left_out_size"),
        _number("left_out_index"),
        sa.PrimaryKeyConstraint("name"),
    )
    for name in ("first_index", "last_index", "size"):
        op.add_column("log_parts", _number(name))
    _fill()


def _fill() -> None:
    table = sa.table("log_parts", *map(sa.column, ("seq", "data", "first_index", "last_index", "size")))
    connection = op.get_bind()
    for seq in connection.execute(sa.select(table.c.seq)).scalars().all():
        data = connection.execute(sa.select(table.c.data).where(table.c.seq == seq)).scalar_one()
        indices = [block.index for block in ReportStageLogsRequest.FromString(data).blocks] or [0]
        values = {"first_index": min(indices), "last_index": max(indices), "size": len(data)}
        connection.execute(table.update().where(table.c.seq == seq).values(values))

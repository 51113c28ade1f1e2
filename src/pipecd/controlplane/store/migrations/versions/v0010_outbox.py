"""Adds the messages that wait for the receivers of projects."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("receiver", sa.String(length=256), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_outbox_project_id_receiver_key", "outbox", ["project_id", "receiver", "key"], unique=True
    )
    waiting = sa.text("body IS NOT NULL")
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["project_id", "receiver", "seq"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )

"""Adds the sessions of the console. Those that were started before have no row, so that they end."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("claims", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("started_at", "last_seen_at", "expires_at")
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("address", "last_address", "user_agent")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_sessions_project_id_username", "sessions", ["project_id", "username"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.execute("DELETE FROM facts WHERE kind = 'ended_session'")

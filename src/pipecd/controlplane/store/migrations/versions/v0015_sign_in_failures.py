"""Counters of failed sign-ins, which servers of the earlier version count in memory."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_NUMBERS = ("failures", "at", "next_at", "expires_at")


def upgrade() -> None:
    op.create_table(
        "sign_in_failures",
        sa.Column("id", sa.String(length=64), primary_key=True),
        *(sa.Column(name, sa.Float(), nullable=False) for name in _NUMBERS),
    )
    op.create_index("ix_sign_in_failures_expires_at", "sign_in_failures", ["expires_at"])

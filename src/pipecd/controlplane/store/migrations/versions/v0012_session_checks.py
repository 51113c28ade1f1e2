"""Adds to sessions what the provider of single sign-on gave, and when it confirmed the user's groups."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("provider_grant", sa.Text(), server_default="", nullable=False))
    for name in ("confirmed_at", "next_check_at"):
        op.add_column("sessions", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE sessions SET confirmed_at = started_at")

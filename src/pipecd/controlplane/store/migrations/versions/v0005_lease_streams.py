"""Adds the stream that renews a lease: an earlier stream of the same holder must not release it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("leases", sa.Column("stream", sa.String(64), server_default="", nullable=False))

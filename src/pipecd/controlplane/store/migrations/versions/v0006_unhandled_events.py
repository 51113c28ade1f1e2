"""Adds the index that finds events without a final status."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_events_status_created_at_id", "events", ["status", "created_at", "id"])

"""Adds the source commits of deployments that have several."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("trace_commits", sa.Text(), server_default="", nullable=False))
    several = sa.text("trace_commits <> ''")
    op.create_index(
        "ix_deployments_several_traces",
        "deployments",
        ["project_id"],
        sqlite_where=several,
        postgresql_where=several,
    )

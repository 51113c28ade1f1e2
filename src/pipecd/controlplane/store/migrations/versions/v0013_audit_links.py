"""The hash chain of the audit log in a table of its own, so that rows of the log are never written twice.

Rows that are in a chain keep their positions and hashes. Those that are not are found by the first run of the
job that adds new ones. A server of an earlier version cannot add rows to a chain afterwards: its statements
name columns that are gone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_SQLITE = """
CREATE TRIGGER audit_links_are_append_only BEFORE UPDATE ON audit_links
BEGIN SELECT RAISE(ABORT, 'rows of the audit log cannot be changed'); END
"""
_POSTGRESQL = """
CREATE TRIGGER audit_links_are_append_only BEFORE UPDATE ON audit_links
FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()
"""


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        # Servers of the earlier version that add rows to a chain wait, and then fail.
        op.execute("LOCK TABLE audit_heads IN EXCLUSIVE MODE")
    op.create_table(
        "audit_links",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.execute(
        "INSERT INTO audit_links (seq, project_id, position, hash)"
        " SELECT seq, project_id, position, hash FROM audit WHERE position IS NOT NULL ORDER BY seq"
    )
    op.create_index(
        "ix_audit_links_project_id_position", "audit_links", ["project_id", "position"], unique=True
    )
    op.execute(_SQLITE if sqlite else _POSTGRESQL)
    sealing = op.create_table(
        "audit_sealing",
        sa.Column("id", sa.Integer(), autoincrement=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("candidate", sa.BigInteger(), nullable=False),
        sa.Column("writers", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(sealing, [{"id": 1, "settled": 0, "candidate": 0, "writers": ""}])
    op.execute("DROP TRIGGER audit_is_sealed_once" + ("" if sqlite else " ON audit"))
    op.drop_index("ix_audit_unsealed", "audit")
    op.drop_index("ix_audit_project_id_position", "audit")
    op.drop_column("audit", "position")
    op.drop_column("audit", "hash")

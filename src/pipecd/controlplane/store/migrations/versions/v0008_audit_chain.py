"""The hash chain of the audit log, and indexes for reading it.

A row is added to the chain once; a trigger refuses to change its position and hash afterwards.
Rows that exist are added to the chain by the job that does so for new ones.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SQLITE = """
CREATE TRIGGER audit_is_sealed_once BEFORE UPDATE OF position, hash ON audit WHEN OLD.position IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'rows of the audit log cannot be changed'); END
"""
_POSTGRESQL = """
CREATE TRIGGER audit_is_sealed_once BEFORE UPDATE OF position, hash ON audit
FOR EACH ROW WHEN (OLD.position IS NOT NULL) EXECUTE FUNCTION refuse_audit_change()
"""


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.drop_column("audit", "prev_hash")
    op.add_column("audit", sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute(_SQLITE if sqlite else _POSTGRESQL)
    op.drop_index("ix_audit_project_id_seq", "audit")
    op.drop_index("ix_audit_record_kind_record_id_seq", "audit")
    op.create_index("ix_audit_project_id_at_seq", "audit", ["project_id", "at", "seq"])
    unsealed = sa.text("position IS NULL")
    op.create_index(
        "ix_audit_unsealed", "audit", ["project_id", "seq"], sqlite_where=unsealed, postgresql_where=unsealed
    )
    op.create_index("ix_audit_project_id_position", "audit", ["project_id", "position"], unique=True)
    op.create_index("ix_audit_project_id_record_id_at_seq", "audit", ["project_id", "record_id", "at", "seq"])
    op.create_table(
        "audit_heads",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("anchor_position", sa.BigInteger(), nullable=False),
        sa.Column("anchor_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
    )

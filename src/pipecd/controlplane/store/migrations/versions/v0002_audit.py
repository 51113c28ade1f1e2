"""The audit log, with triggers that refuse to change its rows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_FIXED = (
    "seq, at, project_id, actor_kind, actor_id, actor_name, actor_project_id, address, action, operation,"
    " record_kind, record_id, before, after"
)
_SQLITE = f"""
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OF {_FIXED} ON audit
BEGIN SELECT RAISE(ABORT, 'rows of the audit log cannot be changed'); END
"""
_POSTGRESQL = (
    """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'rows of the audit log cannot be changed'; END $$
""",
    f"""
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OF {_FIXED} ON audit
FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()
""",
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("actor_project_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("operation", sa.String(length=16), nullable=False),
        sa.Column("record_kind", sa.String(length=32), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_project_id_seq", "audit", ["project_id", "seq"], unique=False)
    op.create_index(
        "ix_audit_record_kind_record_id_seq", "audit", ["record_kind", "record_id", "seq"], unique=False
    )
    statements = (_SQLITE,) if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL
    for statement in statements:
        op.execute(statement)

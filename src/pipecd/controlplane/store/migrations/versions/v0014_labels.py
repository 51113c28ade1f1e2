"""An index of the labels of records, which triggers write, and one for counting applications by status.

Triggers, so that a server of the earlier version, which runs beside this one during an upgrade, writes it.
Each line of the column `labels` of a record is a label; what is indexed of one has up to 200 characters.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

#: Table of the records → kind.
_KINDS = {"applications": "application", "deployments": "deployment", "events": "event"}

_POSTGRESQL = """
CREATE FUNCTION index_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    DELETE FROM labels WHERE project_id = OLD.project_id AND kind = TG_ARGV[0] AND id = OLD.id
    AND label IN (SELECT left(line, 200) FROM unnest(string_to_array(OLD.labels, E'\\n')) AS line);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO labels (project_id, kind, label, id)
    SELECT DISTINCT NEW.project_id, TG_ARGV[0], left(line, 200), NEW.id
    FROM unnest(string_to_array(NEW.labels, E'\\n')) AS line WHERE line <> '';
  END IF;
  RETURN NULL;
END $$
"""
_POSTGRESQL_FILL = """
INSERT INTO labels (project_id, kind, label, id)
SELECT DISTINCT project_id, '{kind}', left(line, 200), id
FROM {table}, unnest(string_to_array(labels, E'\\n')) AS line WHERE line <> ''
"""
_POSTGRESQL_TRIGGERS = (
    "CREATE TRIGGER {table}_labels_insert AFTER INSERT ON {table} FOR EACH ROW WHEN (NEW.labels <> '')"
    " EXECUTE FUNCTION index_labels('{kind}')",
    "CREATE TRIGGER {table}_labels_update AFTER UPDATE ON {table} FOR EACH ROW"
    " WHEN (OLD.labels <> NEW.labels OR OLD.project_id <> NEW.project_id)"
    " EXECUTE FUNCTION index_labels('{kind}')",
    "CREATE TRIGGER {table}_labels_delete AFTER DELETE ON {table} FOR EACH ROW WHEN (OLD.labels <> '')"
    " EXECUTE FUNCTION index_labels('{kind}')",
)


def _lines(text: str) -> str:
    """SQLite: the lines of a text, as the rows of a JSON array.

    A backslash of the text is two in JSON. Written in another way, a backslash and n are a new line.
    """
    json = rf"""replace(replace(json_quote({text}), '\\', '\u005c'), '\n', '","')"""
    return f"json_each('[' || {json} || ']')"


_SQLITE_DELETE = (
    "DELETE FROM labels WHERE project_id = OLD.project_id AND kind = '{kind}' AND id = OLD.id"
    f" AND label IN (SELECT substr(value, 1, 200) FROM {_lines('OLD.labels')});"
)
_SQLITE_INSERT = (
    "INSERT INTO labels (project_id, kind, label, id)"
    " SELECT DISTINCT NEW.project_id, '{kind}', substr(value, 1, 200), NEW.id"
    f" FROM {_lines('NEW.labels')} WHERE value <> '';"
)
_SQLITE_FILL = (
    "INSERT INTO labels (project_id, kind, label, id)"
    " SELECT DISTINCT record.project_id, '{kind}', substr(value, 1, 200), record.id"
    f" FROM {{table}} AS record, {_lines('record.labels')} WHERE record.labels <> '' AND value <> ''"
)
_SQLITE_TRIGGERS = (
    "CREATE TRIGGER {table}_labels_insert AFTER INSERT ON {table} WHEN NEW.labels <> ''"
    f" BEGIN {_SQLITE_INSERT} END",
    "CREATE TRIGGER {table}_labels_update AFTER UPDATE ON {table}"
    " WHEN OLD.labels <> NEW.labels OR OLD.project_id <> NEW.project_id"
    f" BEGIN {_SQLITE_DELETE} {_SQLITE_INSERT} END",
    "CREATE TRIGGER {table}_labels_delete AFTER DELETE ON {table} WHEN OLD.labels <> ''"
    f" BEGIN {_SQLITE_DELETE} END",
)


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "labels",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "kind", "label", "id"),
        sqlite_with_rowid=False,
    )
    if not sqlite:
        op.execute(_POSTGRESQL)
    for table, kind in _KINDS.items():
        if not sqlite:
            # A record that is written meanwhile is in the index, too.
            op.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        for statement in _SQLITE_TRIGGERS if sqlite else _POSTGRESQL_TRIGGERS:
            _execute(statement.format(table=table, kind=kind))
        _execute((_SQLITE_FILL if sqlite else _POSTGRESQL_FILL).format(table=table, kind=kind))
    op.create_index(
        "ix_applications_project_id_deleted_disabled_sync_status",
        "applications",
        ["project_id", "deleted", "disabled", "sync_status"],
    )


def _execute(statement: str) -> None:
    """As it is: a colon in it is not the beginning of a parameter."""
    op.get_bind().exec_driver_sql(statement)

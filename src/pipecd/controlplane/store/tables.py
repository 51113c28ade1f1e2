"""Database tables: a record has its message, a version for compare-and-set, and columns for queries.

Every index begins with the columns that are compared for equality and ends with the columns of the list's
pagination key. `touched` is the time of the last write in epoch microseconds and orders lists; other times
are in the message.
"""

import sqlalchemy as sa

metadata = sa.MetaData()

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _record(name: str, *columns: sa.Column[object], indexes: tuple[tuple[str, ...], ...] = ()) -> sa.Table:
    table = sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("touched", sa.BigInteger, nullable=False),
        *columns,
    )
    for fields in indexes:
        sa.Index(f"ix_{name}_{'_'.join(fields)}", *(table.c[field] for field in fields))
    return table


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _key(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.String(64), nullable=False, server_default="")


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


projects = _record("projects")
pipeds = _record("pipeds", _text("name"), _number("disabled"), indexes=(("project_id", "touched", "id"),))
applications = _record(
    "applications",
    _key("piped_id"),
    _text("name"),
    #: Name and labels in lower case, for searching.
    _text("words"),
    #: `\n<key>:<value>\n` for each label.
    _text("labels"),
    #: Name of the kind, such as `TERRAFORM`.
    _text("kind_name"),
    _number("sync_status"),
    _number("disabled"),
    _number("deleted"),
    indexes=(
        ("project_id", "deleted", "touched", "id"),
        ("project_id", "deleted", "disabled", "touched", "id"),
        ("project_id", "deleted", "disabled", "sync_status"),
        ("piped_id", "deleted", "disabled", "id"),
    ),
)
deployments = _record(
    "deployments",
    _key("piped_id"),
    _key("application_id"),
    #: The application's ID while the deployment is active; unique, so that an application has at most one.
    sa.Column("active_application_id", sa.String(64), nullable=True, unique=True),
    _text("words"),
    _text("labels"),
    _key("trace_commit"),
    #: `\n<commit>\n<commit>\n`, if there are several.
    _text("trace_commits"),
    #: Name of the kind, such as `TERRAFORM`.
    _text("kind_name"),
    _number("status"),
    indexes=(
        ("project_id", "touched", "id"),
        ("project_id", "trace_commit", "touched", "id"),
        ("project_id", "status", "touched", "id"),
        ("project_id", "application_id", "touched", "id"),
        ("piped_id", "status", "id"),
    ),
)
sa.Index(
    "ix_deployments_several_traces",
    deployments.c.project_id,
    sqlite_where=deployments.c.trace_commits != "",
    postgresql_where=deployments.c.trace_commits != "",
)
commands = _record(
    "commands",
    _key("piped_id"),
    _number("status"),
    _number("created_at"),
    indexes=(("piped_id", "status", "created_at", "id"), ("status", "created_at", "id")),
)
events = _record(
    "events",
    _text("name"),
    _key("event_key"),
    _text("labels"),
    _number("status"),
    _number("created_at"),
    indexes=(
        ("project_id", "created_at", "id"),
        ("project_id", "event_key", "created_at", "id"),
        ("status", "created_at", "id"),
    ),
)
api_keys = _record("api_keys", _text("name"), indexes=(("project_id", "touched", "id"),))
chains = _record("chains", _number("status"), indexes=(("project_id", "touched", "id"), ("status", "id")))
traces = _record("traces", _key("commit_hash"), indexes=(("project_id", "touched", "id"),))

#: An index of the labels of records, which triggers write when the column `labels` of a record changes.
labels = sa.Table(
    "labels",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    #: Of the record, as in the change feed.
    sa.Column("kind", sa.String(32), primary_key=True),
    #: The first `MAX_INDEXED_LABEL` characters of `<key>:<value>`.
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sqlite_with_rowid=False,
)
#: An entry of an index of PostgreSQL has at most 2,700 bytes.
MAX_INDEXED_LABEL = 200

#: One row for each deployment that ended, written with it; see `store.deliveries`. Rows are never changed.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
    sa.Column("deployment_id", sa.String(64), nullable=False, unique=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("application_id", sa.String(64), nullable=False),
    #: Name of the kind, such as `TERRAFORM`.
    sa.Column("kind_name", sa.Text, nullable=False),
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("status", sa.BigInteger, nullable=False),
    #: 1 if it failed after it had changed something.
    sa.Column("failed", sa.BigInteger, nullable=False),
    #: Epoch seconds, as those below.
    sa.Column("completed_at", sa.BigInteger, nullable=False),
    #: The measurements of `model.delivery.Delivery`, in seconds.
    sa.Column("lead", sa.BigInteger, nullable=True),
    sa.Column("restore", sa.BigInteger, nullable=True),
    sa.Column("undone_at", sa.BigInteger, nullable=True),
    #: `model.delivery.History` after it.
    sa.Column("commit_at", sa.BigInteger, nullable=False),
    sa.Column("succeeded_at", sa.BigInteger, nullable=False),
    sa.Column("waiting_since", sa.BigInteger, nullable=False),
    sa.Column("failing_since", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("ix_deliveries_project_id_seq", deliveries.c.project_id, deliveries.c.seq)
sa.Index("ix_deliveries_application_id_seq", deliveries.c.application_id, deliveries.c.seq)

#: Metadata of records: small values that are replaced as a whole, such as the last report of an agent.
#: Its name in the database is that of the first version.
metadata_rows = sa.Table(
    "facts",
    metadata,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("touched", sa.BigInteger, nullable=False),
)
sa.Index("ix_facts_kind_project_id_id", metadata_rows.c.kind, metadata_rows.c.project_id, metadata_rows.c.id)

#: Sessions of the console that have not ended; see `store.sessions`. Times in epoch seconds.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("username", sa.Text, nullable=False),
    #: How the user signed in: PASSWORD, GITHUB or OIDC.
    sa.Column("source", sa.String(16), nullable=False),
    #: JSON: the roles, groups and credential of the token, which determine the present roles.
    sa.Column("claims", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("last_seen_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    #: IP addresses of the sign-in, and of the latest use.
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("last_address", sa.Text, nullable=False),
    #: The header `User-Agent` of the sign-in.
    sa.Column("user_agent", sa.Text, nullable=False),
    #: Encrypted tokens of the provider of single sign-on; empty if it cannot be asked again.
    sa.Column("provider_grant", sa.Text, nullable=False, server_default=""),
    #: When the provider last confirmed the user's groups: at the sign-in, or later.
    sa.Column("confirmed_at", sa.BigInteger, nullable=False, server_default="0"),
    #: No replica asks the provider before: one of them is asking, or it did not answer.
    sa.Column("next_check_at", sa.BigInteger, nullable=False, server_default="0"),
)
sa.Index("ix_sessions_project_id_username", sessions.c.project_id, sessions.c.username)
sa.Index("ix_sessions_expires_at", sessions.c.expires_at)

#: Messages to the receivers of projects; see `store.outbox`. The key of a message stays after it was sent.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("receiver", sa.String(256), nullable=False),
    sa.Column("key", sa.String(256), nullable=False),
    #: Null after it was sent or given up.
    sa.Column("body", sa.Text, nullable=True),
    #: Epoch seconds.
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    #: Those that failed.
    sa.Column("attempts", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index(
    "ix_outbox_project_id_receiver_key", outbox.c.project_id, outbox.c.receiver, outbox.c.key, unique=True
)
sa.Index(
    "ix_outbox_waiting",
    outbox.c.project_id,
    outbox.c.receiver,
    outbox.c.seq,
    sqlite_where=outbox.c.body.is_not(None),
    postgresql_where=outbox.c.body.is_not(None),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(96), primary_key=True),
    sa.Column("holder", sa.String(96), nullable=False),
    #: The latest of the holder's streams; empty for a job.
    sa.Column("stream", sa.String(64), nullable=False, server_default=""),
    #: Seconds since the epoch.
    sa.Column("expires_at", sa.Float, nullable=False),
)

#: Counters of failed sign-ins: see `store.sign_in_failures`. `id` is a digest. Times are epoch seconds.
sign_in_failures = sa.Table(
    "sign_in_failures",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("failures", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
sa.Index("ix_sign_in_failures_expires_at", sign_in_failures.c.expires_at)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("piped_id", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("id", sa.String(512), nullable=False),
    sa.Column("detail", sa.String(128), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("ix_changes_at", changes.c.at)

#: One row for each write of a record; see `store.audit`. Rows are only added: triggers refuse to change them.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
    #: Epoch microseconds.
    sa.Column("at", sa.BigInteger, nullable=False),
    #: Project of the record; empty if it belongs to none.
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("actor_kind", sa.String(16), nullable=False),
    sa.Column("actor_id", sa.Text, nullable=False),
    sa.Column("actor_name", sa.Text, nullable=False),
    sa.Column("actor_project_id", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("operation", sa.String(16), nullable=False),
    sa.Column("record_kind", sa.String(32), nullable=False),
    sa.Column("record_id", sa.Text, nullable=False),
    #: Canonical JSON: path of a changed field → value.
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("ix_audit_project_id_at_seq", audit.c.project_id, audit.c.at, audit.c.seq)
sa.Index(
    "ix_audit_project_id_record_id_at_seq", *(audit.c[n] for n in ("project_id", "record_id", "at", "seq"))
)

#: Position and hash of each row that is in its project's hash chain; see `store.audit_chain`. Never changed.
audit_links = sa.Table(
    "audit_links",
    metadata,
    #: Of the row of the audit log.
    sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
    sa.Column("project_id", sa.Text, nullable=False),
    #: From 1 and without gaps.
    sa.Column("position", sa.BigInteger, nullable=False),
    #: SHA-256 of the previous row's hash and this row's content.
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
sa.Index("ix_audit_links_project_id_position", audit_links.c.project_id, audit_links.c.position, unique=True)

#: One row, which a process locks that adds rows to the chains; see `store.audit_chain.seal`.
audit_sealing = sa.Table(
    "audit_sealing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    #: Every row of the log up to this `seq`, and each that may still be committed, is in a chain.
    sa.Column("settled", sa.BigInteger, nullable=False),
    #: The newest `seq` at some time, and the transactions that wrote to the log then, separated by spaces.
    sa.Column("candidate", sa.BigInteger, nullable=False),
    sa.Column("writers", sa.Text, nullable=False),
)

#: The newest row of each project's hash chain.
audit_heads = sa.Table(
    "audit_heads",
    metadata,
    sa.Column("project_id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    #: Position and hash of the last row that was deleted because of its age; 0 if there is none.
    sa.Column("anchor_position", sa.BigInteger, nullable=False),
    sa.Column("anchor_hash", sa.LargeBinary, nullable=False),
)

#: Lines of stage logs since the last checkpoint; `name` is `<deployment>/<stage>/<retried>`.
log_parts = sa.Table(
    "log_parts",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    _number("first_index"),
    _number("last_index"),
    #: Bytes of `data`.
    _number("size"),
    sqlite_autoincrement=True,
)
sa.Index("ix_log_parts_name_seq", log_parts.c.name, log_parts.c.seq)

#: Chunks of stage logs, whose lines are objects. `name` as in `log_parts`.
log_chunks = sa.Table(
    "log_chunks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("first_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last_index", sa.BigInteger, nullable=False),
    sa.Column("line_count", sa.BigInteger, nullable=False),
    #: Bytes of the object.
    sa.Column("size", sa.BigInteger, nullable=False),
)

#: Stage logs with a checkpoint, and what was left out of those that were too long. `name` as in `log_parts`.
stage_logs = sa.Table(
    "stage_logs",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _number("completed"),
    _number("left_out_lines"),
    _number("left_out_size"),
    #: Index of the last line that was left out.
    _number("left_out_index"),
)

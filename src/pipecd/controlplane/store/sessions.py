"""The sessions of the console: one row for each that has not ended, used by `auth.sessions`.

A row is deleted when its session is ended, or some time after it has expired. Starting and ending a session
adds a row to the audit log in the same transaction; ending one also adds a change of the kind `CHANGE_KIND`
to the change feed, which ends its streams and removes it from the caches of all replicas.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from pipecd.controlplane.store import Store, audit, audit_chain, tables
from pipecd.controlplane.store.engine import Database
from pipecd.controlplane.store.feed import Change
from pipecd.controlplane.store.statements import Connection
from pipecd.json_input import decode_json
from pipecd.model.actor import Actor

#: Kind of the changes, and of the records in the audit log. The id is that of the session.
CHANGE_KIND = "session"
#: Sessions in one list: those that were used last.
MAX_LISTED = 1000

_COLUMN = tables.sessions.c
_THIS = _COLUMN.id == sa.bindparam("session_id")
_IN_PROJECT = _COLUMN.project_id == sa.bindparam("of_project")
_OF_USER = sa.and_(_IN_PROJECT, _COLUMN.username == sa.bindparam("of_user"))
_LATEST_FIRST = (_COLUMN.last_seen_at.desc(), _COLUMN.id)
_STATE = sa.select(
    _COLUMN.last_seen_at,
    _COLUMN.claims,
    _COLUMN.started_at,
    _COLUMN.confirmed_at,
    _COLUMN.next_check_at,
    (_COLUMN.provider_grant != "").label("has_grant"),
).where(_THIS)
_BY_ID = sa.select(tables.sessions).where(_THIS)
_INSERT = sa.insert(tables.sessions).inline()
_TOUCH = sa.update(tables.sessions).where(_THIS, _COLUMN.last_seen_at < sa.bindparam("earlier_than"))
_CLAIM_CHECK = sa.update(tables.sessions).where(
    _THIS, _COLUMN.next_check_at <= sa.bindparam("at"), _COLUMN.confirmed_at == sa.bindparam("known")
)
_UPDATE = sa.update(tables.sessions).where(_THIS)
_DELETE = sa.delete(tables.sessions).where(_THIS, _IN_PROJECT)
_OF_SAME_NAME = sa.select(_COLUMN.id, _COLUMN.claims).where(_OF_USER).order_by(*_LATEST_FIRST)
_EXPIRED = sa.delete(tables.sessions).where(_COLUMN.expires_at <= sa.bindparam("at"))
_UNUSED = sa.delete(tables.sessions).where(_COLUMN.last_seen_at <= sa.bindparam("at"))


def subject_of(claims: Mapping[str, Any]) -> str:
    """What identifies the user among those of the same name. Servers of an earlier version do not set it."""
    return str(claims.get("subject", ""))


async def create(
    store: Store,
    row: Mapping[str, Any],
    audited: Mapping[str, object],
    *,
    max_sessions: int,
    now: float,
    by: Actor,
) -> None:
    """Add a session. `audited` describes it in the audit log.

    If its user has more than `max_sessions` then, those that were not used for the longest time end.
    """

    def create(connection: Connection) -> None:
        connection.execute(_INSERT, row)
        record = _subject(row["id"], row["project_id"])
        rows = [audit.describe(by, _microseconds(now), "create", record, {}, audited)]
        user = {"of_project": row["project_id"], "of_user": row["username"]}
        namesakes = connection.execute(_OF_SAME_NAME, user).all()
        subject = subject_of(decode_json(row["claims"]))
        own = [found.id for found in namesakes if subject_of(decode_json(found.claims)) == subject]
        others = [id for id in own if id != row["id"]]
        for id in others[max_sessions - 1 :]:
            rows.extend(_end(store, connection, row["project_id"], id, now, by))
        audit_chain.append(connection, rows)

    await store.feed.write(create)


async def state(database: Database, id: str) -> Any | None:
    """What determines whether the session is valid, and what it allows; None if it has ended."""
    rows = await database.rows(_STATE, {"session_id": id})
    return rows[0] if rows else None


async def claim_check(database: Database, id: str, *, confirmed_at: int, now: int, until: int) -> Any | None:
    """The session, if this process is the one to ask its provider, until `until`; else None.

    `confirmed_at` as it was read: another replica may have asked meanwhile.
    """

    def claim(connection: Connection) -> Any | None:
        parameters = {"session_id": id, "at": now, "known": confirmed_at, "next_check_at": until}
        if not connection.execute(_CLAIM_CHECK, parameters).rowcount:
            return None
        return connection.execute(_BY_ID, {"session_id": id}).one_or_none()

    return await database.write(claim)


async def update(database: Database, id: str, values: Mapping[str, Any]) -> None:
    """Set columns of a session that has not ended."""
    await database.write(lambda connection: connection.execute(_UPDATE, {"session_id": id, **values}))


async def confirm(
    store: Store,
    *,
    project_id: str,
    id: str,
    username: str,
    values: Mapping[str, Any],
    groups: Sequence[str],
    now: float,
    by: Actor,
) -> None:
    """Set columns after the provider was asked, with a row in the audit log if the groups changed.

    `groups`: those before and after.
    """

    def confirm(connection: Connection) -> None:
        updated = connection.execute(_UPDATE, {"session_id": id, **values}).rowcount
        before, after = ({"username": username, "groups": each} for each in groups)
        if updated and before != after:
            at, subject = _microseconds(now), _subject(id, project_id)
            audit_chain.append(connection, [audit.describe(by, at, "update", subject, before, after)])

    await store.feed.write(confirm)


async def touch(database: Database, id: str, now: int, address: str) -> None:
    """Store that the session was used at `now` from `address`, unless a later use is stored."""
    values = {"last_seen_at": now, "last_address": address}
    parameters = {"session_id": id, "earlier_than": now, **values}
    await database.write(lambda connection: connection.execute(_TOUCH, parameters))


async def end(store: Store, project_id: str, ids: Sequence[str], now: float, *, by: Actor) -> int:
    """End the sessions of the project that have one of `ids`. Returns how many had not ended before."""

    def end(connection: Connection) -> int:
        rows = [row for id in ids for row in _end(store, connection, project_id, id, now, by)]
        audit_chain.append(connection, rows)
        return len(rows)

    return await store.feed.write(end)


async def page(database: Database, project_id: str, username: str = "") -> Sequence[Any]:
    """The sessions of the project, or of one of its users, that were used last; at most `MAX_LISTED`.

    Some of them may have expired.
    """
    query = sa.select(tables.sessions).where(_COLUMN.project_id == project_id)
    if username:
        query = query.where(_COLUMN.username == username)
    return await database.rows(query.order_by(*_LATEST_FIRST).limit(MAX_LISTED))


async def prune(database: Database, *, now: int, used_after: int) -> None:
    """Delete the sessions that have expired, or were not used after `used_after` (epoch seconds)."""

    def prune(connection: Connection) -> None:
        connection.execute(_EXPIRED, {"at": now})
        if used_after > 0:
            connection.execute(_UNUSED, {"at": used_after})

    await database.write(prune)


def _end(
    store: Store, connection: Connection, project_id: str, id: str, now: float, by: Actor
) -> Sequence[audit.Row]:
    """The row for the audit log, if the session had not ended."""
    row = connection.execute(_BY_ID, {"session_id": id}).one_or_none()
    if row is None or not connection.execute(_DELETE, {"session_id": id, "of_project": project_id}).rowcount:
        return ()
    store.feed.add(connection, Change(kind=CHANGE_KIND, project_id=project_id, id=id))
    before = {"username": row.username, "address": row.address}
    return [audit.describe(by, _microseconds(now), "delete", _subject(id, project_id), before, {})]


def _subject(id: str, project_id: str) -> audit.Subject:
    return audit.Subject(kind=CHANGE_KIND, id=id, project_id=project_id)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)

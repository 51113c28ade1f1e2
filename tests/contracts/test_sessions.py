"""The table of sessions, on every database."""

from typing import Any

import sqlalchemy as sa

from pipecd.controlplane.store import Store, sessions
from pipecd.controlplane.store.tables import audit, changes
from tests.actors import TESTER


def row(id: str, username: str = "ann", *, at: int = 100, **values: Any) -> dict[str, Any]:
    return {
        "id": id,
        "project_id": "shop",
        "username": username,
        "source": "OIDC",
        "claims": "{}",
        "started_at": at,
        "last_seen_at": at,
        "expires_at": at + 1000,
        "address": "203.0.113.1",
        "last_address": "203.0.113.1",
        "user_agent": "Firefox",
        **values,
    }


async def create(store: Store, *rows: dict[str, Any], max_sessions: int = 100) -> None:
    for values in rows:
        audited = {"username": values["username"]}
        await sessions.create(store, values, audited, max_sessions=max_sessions, now=100.5, by=TESTER)


async def ids(store: Store, username: str = "") -> list[str]:
    return [found.id for found in await sessions.page(store.database, "shop", username)]


async def test_sessions_are_created_listed_used_and_ended(store: Store) -> None:
    await create(store, row("a"), row("b", "bob", at=200), row("c", at=300))
    await create(store, row("other", project_id="elsewhere"))
    assert await ids(store) == ["c", "b", "a"], "the last used ones first"
    assert await ids(store, "ann") == ["c", "a"]
    await sessions.touch(store.database, "a", 400, "203.0.113.2")
    await sessions.touch(store.database, "a", 350, "203.0.113.3")
    assert await sessions.last_seen(store.database, "a") == 400, "an earlier use does not replace a later one"
    assert await ids(store) == ["a", "c", "b"]
    assert (await sessions.page(store.database, "shop"))[0].last_address == "203.0.113.2"

    assert await sessions.end(store, "shop", ["a", "a", "other", "unknown"], 500.0, by=TESTER) == 1
    assert await sessions.last_seen(store.database, "a") is None
    assert await sessions.last_seen(store.database, "other") == 100, "of another project"
    await sessions.touch(store.database, "a", 600, "203.0.113.2")
    assert await ids(store) == ["c", "b"], "a use that was late does not start it again"
    announced = await store.database.rows(
        sa.select(changes.c.id).where(changes.c.kind == sessions.CHANGE_KIND)
    )
    assert [change.id for change in announced] == ["a"]
    query = sa.select(audit).where(audit.c.record_kind == "session", audit.c.record_id == "a")
    audited = await store.database.rows(query.order_by(audit.c.seq))
    assert [(entry.operation, entry.at) for entry in audited] == [
        ("create", 100_500_000),
        ("delete", 500_000_000),
    ]
    assert '"username":"ann"' in audited[1].before


async def test_a_further_session_of_a_user_ends_the_least_recently_used_one(store: Store) -> None:
    await create(store, row("a", at=1), row("b", at=2), row("bob", "bob", at=0), max_sessions=2)
    await sessions.touch(store.database, "a", 10, "")
    await create(store, row("c", at=3), max_sessions=2)
    assert await ids(store) == ["a", "c", "bob"]


async def test_expired_and_unused_sessions_are_deleted(store: Store) -> None:
    await create(store, row("a", at=100), row("b", at=200), row("c", at=300, expires_at=400))
    await sessions.prune(store.database, now=400, used_after=0)
    assert await ids(store) == ["b", "a"]
    await sessions.prune(store.database, now=401, used_after=100)
    assert await ids(store) == ["b"]

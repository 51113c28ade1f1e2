"""The table of sessions, on every database."""

import asyncio
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
        "provider_grant": "",
        "confirmed_at": at,
        "next_check_at": 0,
        **values,
    }


async def create(store: Store, *rows: dict[str, Any], max_sessions: int = 100) -> None:
    for values in rows:
        audited = {"username": values["username"]}
        await sessions.create(store, values, audited, max_sessions=max_sessions, now=100.5, by=TESTER)


async def ids(store: Store, username: str = "") -> list[str]:
    return [found.id for found in await sessions.page(store.database, "shop", username)]


async def last_seen(store: Store, id: str) -> int | None:
    state = await sessions.state(store.database, id)
    return None if state is None else int(state.last_seen_at)


async def test_sessions_are_created_listed_used_and_ended(store: Store) -> None:
    await create(store, row("a"), row("b", "bob", at=200), row("c", at=300))
    await create(store, row("other", project_id="elsewhere"))
    assert await ids(store) == ["c", "b", "a"], "the last used ones first"
    assert await ids(store, "ann") == ["c", "a"]
    await sessions.touch(store.database, "a", 400, "203.0.113.2")
    await sessions.touch(store.database, "a", 350, "203.0.113.3")
    assert await last_seen(store, "a") == 400, "an earlier use does not replace a later one"
    assert await ids(store) == ["a", "c", "b"]
    assert (await sessions.page(store.database, "shop"))[0].last_address == "203.0.113.2"

    assert await sessions.end(store, "shop", ["a", "a", "other", "unknown"], 500.0, by=TESTER) == 1
    assert await last_seen(store, "a") is None
    assert await last_seen(store, "other") == 100, "of another project"
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


async def test_one_process_at_a_time_asks_a_provider(store: Store) -> None:
    await create(store, row("a", provider_grant="secret"))

    async def claim(confirmed_at: int, now: int) -> Any:
        return await sessions.claim_check(
            store.database, "a", confirmed_at=confirmed_at, now=now, until=now + 60
        )

    claims = await asyncio.gather(*(claim(100, 1000) for _ in range(5)))
    (claimed,) = (found for found in claims if found)
    assert claimed.provider_grant == "secret"
    assert await claim(100, 1059) is None and await claim(100, 1060), "the process that asked has died"
    await sessions.update(store.database, "a", {"provider_grant": "renewed"})

    async def confirm(at: int, after: str) -> None:
        values = {"claims": "{}", "provider_grant": "renewed", "confirmed_at": at, "next_check_at": 0}
        subject = {"project_id": "shop", "id": "a", "username": "ann"}
        groups = ["dev", after]
        await sessions.confirm(store, **subject, values=values, groups=groups, now=float(at), by=TESTER)

    await confirm(2000, "dev")
    assert await claim(100, 3000) is None, "it was confirmed meanwhile"
    assert (await claim(2000, 3000)).provider_grant == "renewed"
    await confirm(3000, "ops")
    state = await sessions.state(store.database, "a")
    assert state is not None
    assert (state.confirmed_at, state.next_check_at, bool(state.has_grant)) == (3000, 0, True)
    await sessions.end(store, "shop", ["a"], 4000.0, by=TESTER)
    await confirm(5000, "dev")
    query = sa.select(audit.c.operation).where(audit.c.record_id == "a").order_by(audit.c.seq)
    operations = [entry.operation for entry in await store.database.rows(query)]
    assert operations == ["create", "update", "delete"], "neither an unchanged group nor a late answer is one"

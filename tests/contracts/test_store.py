"""Contract of the record store, for SQLite and PostgreSQL."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pipecd.controlplane.settings import FeedSettings, StoreSettings
from pipecd.controlplane.store import Store, lists, outbox, tables
from pipecd.controlplane.store.feed import of_agent, of_project, of_record
from pipecd.controlplane.store.kinds import HEARTBEAT, STATISTICS
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.controlplane.store.lists import ApplicationFilter, DeploymentFilter, EventFilter, Paging
from pipecd.controlplane.store.migrate import run_in_transaction
from pipecd.errors import AlreadyExists, Conflict, NotFound, Refused
from pipecd.schema.model.application_pb2 import Application, ApplicationSyncStatus
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from tests.actors import TESTER
from tests.virtual_clock import VirtualClock


def application(number: int, **fields: Any) -> Application:
    return Application(
        id=f"app-{number:03}", name=f"Shop {number}", project_id="shop", piped_id="home", **fields
    )


def deployment(id: str, application_id: str, status: DeploymentStatus.ValueType) -> Deployment:
    return Deployment(id=id, application_id=application_id, project_id="shop", piped_id="home", status=status)


async def test_the_migrations_create_the_declared_tables(store: Store) -> None:
    def check(connection: sa.Connection) -> None:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []

    await run_in_transaction(store.database.url, check)


async def test_opening_twice_changes_nothing(store: Store, url: str) -> None:
    await store.create(application(1), by=TESTER)
    again = await Store.open(url)
    assert (await again.get(Application, "app-001")).version == 1
    await again.close()


async def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    written = application(1, labels={"env": "prod"}, description="ünïcode\n")
    await store.create(written, by=TESTER)
    record = await store.get(Application, written.id)
    assert (record.message, record.version) == (written, 1)
    with pytest.raises(NotFound):
        await store.get(Application, "missing")
    with pytest.raises(AlreadyExists):
        await store.create(written, by=TESTER)


async def test_several_records_are_created_together_or_not_at_all(store: Store) -> None:
    await store.create(application(2), by=TESTER)
    with pytest.raises(AlreadyExists, match="app-002"):
        await store.create(application(1), application(2), by=TESTER)
    with pytest.raises(NotFound):
        await store.get(Application, "app-001")
    await store.create(application(1), Piped(id="p", project_id="shop"), by=TESTER)
    assert (await store.get(Piped, "p")).version == (await store.get(Application, "app-001")).version == 1


async def test_a_record_is_created_together_with_a_change_or_not_at_all(store: Store) -> None:
    await store.create(application(1), by=TESTER)

    def describe(record: Application) -> None:
        record.description = "changed"

    await store.update(Application, "app-001", describe, by=TESTER, creating=[application(2)])
    assert (await store.get(Application, "app-002")).version == 1
    with pytest.raises(AlreadyExists):
        await store.update(
            Application,
            "app-001",
            lambda record: record.ClearField("name"),
            by=TESTER,
            creating=[application(2)],
        )
    record = await store.get(Application, "app-001")
    assert (record.message.name, record.message.description, record.version) == ("Shop 1", "changed", 2)


async def test_concurrent_changes_are_all_applied(store: Store) -> None:
    await store.create(application(1), by=TESTER)

    def describe(record: Application) -> None:
        record.description += "x"

    await asyncio.gather(*(store.update(Application, "app-001", describe, by=TESTER) for _ in range(20)))
    record = await store.get(Application, "app-001")
    assert (record.message.description, record.version) == ("x" * 20, 21)


async def test_a_change_that_raises_writes_nothing(store: Store) -> None:
    await store.create(application(1), by=TESTER)

    def refuse(record: Application) -> None:
        record.name = "changed"
        raise Conflict("no")

    with pytest.raises(Conflict):
        await store.update(Application, "app-001", refuse, by=TESTER)
    assert (await store.get(Application, "app-001")).message.name == "Shop 1"


async def test_a_change_that_modifies_nothing_writes_nothing(store: Store) -> None:
    await store.create(application(1), by=TESTER)
    await store.update(Application, "app-001", lambda record: None, by=TESTER)
    assert (await store.get(Application, "app-001")).version == 1


async def test_an_application_has_at_most_one_active_deployment(store: Store) -> None:
    """Invariant 1, enforced by the store: two replicas cannot both start one."""
    status = DeploymentStatus
    await store.create(deployment("one", "app", status.DEPLOYMENT_PENDING), by=TESTER)
    await store.create(deployment("two", "app", status.DEPLOYMENT_PENDING), by=TESTER)

    def plan(record: Deployment) -> None:
        record.status = status.DEPLOYMENT_PLANNED

    def end(record: Deployment) -> None:
        record.status = status.DEPLOYMENT_SUCCESS

    await store.update(Deployment, "one", plan, by=TESTER)
    with pytest.raises(Conflict, match="already has another active deployment"):
        await store.update(Deployment, "two", plan, by=TESTER)
    await store.update(Deployment, "one", end, by=TESTER)
    await store.update(Deployment, "two", plan, by=TESTER)


async def test_records_are_found_by_their_ids(url: str) -> None:
    store = await Store.open(url, settings=StoreSettings(list_batch_size=2))
    for number in range(5):
        await store.create(application(number), by=TESTER)
    ids = [f"app-{number:03}" for number in (4, 0, 2, 0)]
    found = await lists.by_ids(store, Application, [*ids, "missing"])
    assert {record.id for record in found} == set(ids)
    assert len(found) == 3
    await store.close()


async def test_lists_are_complete_for_every_page_size(url: str) -> None:
    """Invariant 9."""
    store = await Store.open(url, settings=StoreSettings(list_batch_size=1))
    for number in range(7):
        await store.create(application(number), by=TESTER)
        status = DeploymentStatus.DEPLOYMENT_PENDING
        await store.create(deployment(f"d{number}", f"app-{number:03}", status), by=TESTER)
        await store.create(
            Command(id=f"c{number}", project_id="shop", piped_id="home", created_at=100 - number), by=TESTER
        )
        await store.create(
            Event(id=f"e{number}", project_id="shop", name="n", created_at=number + 1), by=TESTER
        )
        await store.create(Piped(id=f"p{number}", project_id="shop", name=f"p{number}"), by=TESTER)
    everything = ApplicationFilter()
    assert len(await lists.all_applications(store, "shop", everything)) == 7
    assert len(await lists.enabled_applications(store, "shop", "home")) == 7
    assert len(await lists.unfinished_deployments(store, "shop", "home")) == 7
    commands = await lists.unhandled_commands(store, "shop", "home")
    assert [command.id for command in commands] == [f"c{number}" for number in range(6, -1, -1)]
    assert len(await lists.pipeds(store, "shop")) == len(await lists.all_pipeds(store)) == 7
    assert len(await lists.events_between(store, "shop", begin=0, end=0, status=0, newest_first=True)) == 7
    listed: list[str] = []
    cursor = ""
    while True:
        page = await lists.applications(store, "shop", everything, Paging(size=1, cursor=cursor))
        listed += [record.id for record in page.records]
        if not (cursor := page.cursor):
            break
    assert listed == [f"app-{number:03}" for number in range(6, -1, -1)]
    assert await lists.count_applications(store, "shop", everything) == 7
    synced = ApplicationFilter(sync_statuses=[ApplicationSyncStatus.SYNCED])
    assert await lists.count_applications_by_status(store, "shop", synced) == {
        ApplicationSyncStatus.UNKNOWN: 7
    }
    await store.close()


async def test_only_the_last_deployment_of_an_application_is_listed(store: Store) -> None:
    failed, succeeded = DeploymentStatus.DEPLOYMENT_FAILURE, DeploymentStatus.DEPLOYMENT_SUCCESS
    for number, deleted in ((1, False), (2, False), (3, True)):
        await store.create(application(number, deleted=deleted), by=TESTER)
    for id, app, status in (
        ("a1", "app-001", failed),
        ("a2", "app-001", succeeded),
        ("b1", "app-002", succeeded),
        ("b2", "app-002", failed),
        ("g1", "app-003", failed),
        ("x1", "unknown", failed),
    ):
        await store.create(deployment(id, app, status), by=TESTER)
    last = await lists.deployments(store, "shop", DeploymentFilter(only_last=True), Paging())
    assert [record.id for record in last.records] == ["b2", "a2"]
    filters = DeploymentFilter(only_last=True, statuses=[failed])
    last_failed = await lists.deployments(store, "shop", filters, Paging())
    assert [record.id for record in last_failed.records] == ["b2"]


async def test_consecutive_pages_have_no_gap_or_overlap(store: Store) -> None:
    for number in range(5):
        await store.create(deployment(f"d{number}", "app", DeploymentStatus.DEPLOYMENT_SUCCESS), by=TESTER)
        await store.create(
            Event(id=f"e{number}", project_id="shop", name="n", created_at=number + 1), by=TESTER
        )
    first = await lists.deployments(store, "shop", DeploymentFilter(), Paging(size=3))
    second = await lists.deployments(store, "shop", DeploymentFilter(), Paging(size=3, cursor=first.cursor))
    assert [record.id for record in [*first.records, *second.records]] == ["d4", "d3", "d2", "d1", "d0"]
    assert second.cursor == ""
    events = await lists.events(store, "shop", EventFilter(name="n"), Paging(size=2))
    assert [event.id for event in events.records] == ["e4", "e3"]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (ApplicationFilter(search="shop"), ["app-001", "app-002", "app-003"]),
        (ApplicationFilter(search="ENV:prod 1"), ["app-001"]),
        (ApplicationFilter(search="100%"), []),
        (ApplicationFilter(name="Shop 2"), ["app-002"]),
        (ApplicationFilter(labels={"env": "prod"}), ["app-001"]),
        (ApplicationFilter(labels={"env": "pro"}), []),
        (ApplicationFilter(kinds=["TERRAFORM"]), ["app-002"]),
        (ApplicationFilter(kinds=["DIRECTORY"]), ["app-003"]),
        (ApplicationFilter(kinds=["KUBERNETES", "TERRAFORM"]), ["app-001", "app-002"]),
        (ApplicationFilter(enabled=False), ["app-003"]),
        (ApplicationFilter(enabled=True), ["app-001", "app-002"]),
        (ApplicationFilter(piped_id="elsewhere"), []),
        (ApplicationFilter(deleted=None), ["app-001", "app-002", "app-003", "app-004"]),
    ],
)
async def test_applications_are_filtered(store: Store, filters: ApplicationFilter, ids: list[str]) -> None:
    await store.create(application(1, labels={"env": "prod"}), by=TESTER)
    await store.create(application(2, labels={"env": "production"}, kind=1), by=TESTER)
    files = {"directory": DeployTargets(deploy_targets=["local"])}
    await store.create(application(3, disabled=True, deploy_targets_by_plugin=files), by=TESTER)
    await store.create(application(4, disabled=True, deleted=True), by=TESTER)
    await store.create(Application(id="theirs", name="Shop", project_id="other"), by=TESTER)
    applications = await lists.all_applications(store, "shop", filters)
    assert [record.id for record in applications] == ids


async def test_an_invalid_cursor_is_rejected(store: Store) -> None:
    with pytest.raises(Refused, match="first page"):
        await lists.applications(store, "shop", ApplicationFilter(), Paging(cursor="e30="))
    with pytest.raises(Refused, match="200"):
        await lists.applications(store, "shop", ApplicationFilter(), Paging(size=201))


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_subscribers_receive_every_write(store: Store, url: str) -> None:
    """Including writes of another replica. One of topics is not woken by other changes, nor twice by one."""
    other = await Store.open(url)
    reading = asyncio.create_task(store.feed.run())
    with (
        store.feed.subscribe() as changes,
        store.feed.subscribe_to(
            [of_agent("home"), of_record("application", "app-001"), of_project("event", "shop")],
            lambda change: change.kind == "application",
        ) as applications,
        store.feed.subscribe_to([of_agent("elsewhere")], lambda _: True) as others,
    ):
        # The reader starts at the newest row, so it must have read once before the write under test.
        await other.announce("hello", project_id="shop", id="1")
        async with asyncio.timeout(60):
            while True:
                await other.create(
                    Piped(id=f"{asyncio.get_running_loop().time()}", project_id="shop", name="x"), by=TESTER
                )
                try:
                    async with asyncio.timeout(1):
                        first = await changes.get()
                        break
                except TimeoutError:
                    continue
            assert first.project_id == "shop"
            await other.create(application(1), by=TESTER)
            while (change := await changes.get()).kind != "application":
                pass
        assert applications.get_nowait() == change and applications.empty() and others.empty()
    assert (change.id, change.piped_id) == ("app-001", "home")
    await stop(reading)
    await other.close()


async def test_changes_that_follow_one_another_are_read_together(tmp_path: Path) -> None:
    """The first one at once. PostgreSQL adds reads at times of its own: when it can notify."""
    clock = VirtualClock()
    feed = FeedSettings(min_interval=1.0, poll_interval=1000.0)
    store = await Store.open(f"sqlite:///{tmp_path / 'pipecd.db'}", clock, StoreSettings(feed=feed))
    reading = asyncio.create_task(store.feed.run())
    with store.feed.subscribe() as changes:
        await clock.until_sleeping()
        await clock.advance(1.0)
        await store.announce("hello", project_id="shop", id="1")
        assert (await changes.get()).id == "1"
        for id in ("2", "3"):
            await store.announce("hello", project_id="shop", id=id)
        await clock.advance(0.9)
        assert changes.empty()
        await clock.advance(0.1)
        assert [(await changes.get()).id for _ in range(2)] == ["2", "3"]
    await stop(reading)
    await store.close()


async def test_a_lease_has_one_holder(url: str) -> None:
    clock = VirtualClock()
    store = await Store.open(url, clock)
    leases = store.leases
    assert await leases.acquire("x", "a", 10)
    await clock.advance(5)
    assert not await leases.acquire("x", "b", 10)
    assert await leases.acquire("x", "a", 10), "renewed"
    await clock.advance(9)
    assert await leases.holder("x") == "a"
    assert await leases.find_held(["x", "y"]) == {"x"}
    await clock.advance(2)
    assert await leases.holder("x") == ""
    assert await leases.acquire("x", "b", 10), "it has expired"
    await leases.release("x", "a")
    assert await leases.holder("x") == "b"
    await store.close()


async def test_a_lease_belongs_to_the_latest_stream_of_its_holder(store: Store) -> None:
    leases = store.leases
    assert await leases.acquire("x", "a", 10, stream="old")
    assert not await leases.is_replaced("x", "a", stream="old")
    assert await leases.acquire("x", "a", 10, stream="new")
    assert await leases.is_replaced("x", "a", stream="old")
    assert not await leases.renew("x", "a", 10, stream="old")
    assert not await leases.release("x", "a", stream="old")
    assert await leases.renew("x", "a", 10, stream="new")
    assert not await leases.acquire("x", "b", 10, stream="other")
    assert await leases.release("x", "a", stream="new")
    assert await leases.acquire("x", "b", 10, stream="other")
    assert not await leases.is_replaced("x", "a", stream="new"), "another holder is no later stream"


@contextmanager
def count_writes(store: Store) -> Iterator[list[object]]:
    """An entry for each transaction that writes."""
    writes: list[object] = []
    write = store.database.write

    async def count(*arguments: Any) -> Any:
        writes.append(arguments)
        return await write(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.database, "write", count)
        yield writes


async def test_many_leases_are_renewed_by_one_transaction(store: Store) -> None:
    """Each renewal has its own result. One that was cancelled does not take those of others with it."""
    leases = store.leases
    for number in range(20):
        assert await leases.acquire(f"l{number}", "a", 0.001, stream="new")
    # As if each of 20 agents had an earlier stream, and another process had tried to be it.
    tried = [
        (f"l{number}", holder, stream)
        for number in range(20)
        for holder, stream in (("a", "old"), ("a", "new"), ("b", "new"))
    ]
    cancelled = asyncio.create_task(leases.renew("l0", "a", 60, stream="new"))
    renewals = [
        asyncio.create_task(leases.renew(name, holder, 60, stream=stream)) for name, holder, stream in tried
    ]
    await asyncio.sleep(0)
    cancelled.cancel()
    with count_writes(store) as writes:
        results = await asyncio.gather(*renewals)
    assert results == [(holder, stream) == ("a", "new") for _, holder, stream in tried]
    assert len(writes) == 1
    assert await leases.find_held([f"l{number}" for number in range(30)]) == {f"l{n}" for n in range(20)}


async def test_the_heartbeats_of_many_agents_are_written_by_one_transaction(url: str) -> None:
    """Those of processes without the lease are left out, also beside one of the same piped that has it."""
    clock = VirtualClock()
    store = await Store.open(url, clock)
    for number in range(10):
        assert await store.leases.acquire(piped_lease_name(f"p{number}"), "a", 60)

    async def record(instance: str) -> None:
        tasks = [
            asyncio.create_task(store.heartbeats.record(f"p{number}", "shop", process))
            for number in range(12)
            for process in ("old", instance, instance)
        ]
        with count_writes(store) as writes:
            await clock.run(asyncio.gather(*tasks))
        assert len(writes) == 1

    async def recorded() -> dict[str, int]:
        return {id: at for id, (_, at) in (await store.list_metadata(HEARTBEAT, "shop")).items()}

    await record("b")
    assert await recorded() == {}
    for _ in range(2):
        await clock.advance(5)
        await record("a")
        beats = await recorded()
        assert set(beats) == {f"p{number}" for number in range(10)}
        assert all(clock.now() - at / 1_000_000 < 1 for at in beats.values())
    await clock.advance(60)
    await record("a")
    assert await recorded() == beats, "the leases have expired"
    await store.close()


async def test_old_changes_and_leases_are_deleted(url: str) -> None:
    clock = VirtualClock()
    store = await Store.open(url, clock, StoreSettings(feed=FeedSettings(retention=600)))

    async def count(table: sa.Table) -> int:
        ((number,),) = await store.database.rows(sa.select(sa.func.count()).select_from(table))
        return int(number)

    await store.leases.acquire("x", "a", 10)
    await store.create(application(1), by=TESTER)
    await clock.advance(599)
    await store.create(application(2), by=TESTER)
    await store.feed.prune()
    assert await count(tables.changes) == 2
    await clock.advance(2)
    await store.feed.prune()
    await store.leases.prune()
    assert (await count(tables.changes), await count(tables.leases)) == (1, 1)
    await clock.advance(3600)
    await store.leases.prune()
    assert await count(tables.leases) == 0
    assert await count(tables.audit) == 2, "the audit log is not deleted with the changes"
    await store.close()


async def test_concurrent_requests_for_a_lease_have_one_winner(store: Store) -> None:
    acquired = await asyncio.gather(*(store.leases.acquire("x", f"p{n}", 60) for n in range(10)))
    assert sum(acquired) == 1


async def test_metadata_is_replaced_as_a_whole(store: Store) -> None:
    await store.put_metadata(STATISTICS, "p1", "shop", b"one", by=TESTER)
    await store.put_metadata(STATISTICS, "p1", "shop", b"two", by=TESTER)
    await store.put_metadata(STATISTICS, "p2", "other", b"x", by=TESTER)
    stored = await store.get_metadata(STATISTICS, "p1")
    assert stored is not None and stored[0] == b"two"
    assert list(await store.list_metadata(STATISTICS, "shop")) == ["p1"]
    assert await store.get_metadata(STATISTICS, "missing") is None


async def test_overdue_commands_are_found(store: Store) -> None:
    await store.create(Command(id="old", project_id="a", created_at=10), by=TESTER)
    await store.create(Command(id="new", project_id="b", created_at=100), by=TESTER)
    done = CommandStatus.COMMAND_SUCCEEDED
    await store.create(Command(id="done", project_id="a", created_at=10, status=done), by=TESTER)
    assert [command.id for command in await lists.overdue_commands(store, 50)] == ["old"]


async def test_messages_wait_in_order_until_they_are_sent(store: Store) -> None:
    async def waiting() -> list[tuple[str, float, int]]:
        message = await outbox.next_message(store, "shop", "hook")
        return [(message.key, message.due_at, message.attempts)] if message else []

    for key in ("first", "second", "first"):
        await outbox.add(store, "shop", ["hook", "mail"], key, "{}", 10.5)
    await outbox.add(store, "other", ["hook"], "first", "{}", 11.0)
    assert await outbox.waiting(store) == {("shop", "hook"): 2, ("shop", "mail"): 2, ("other", "hook"): 1}
    assert await waiting() == [("first", 10.5, 0)]
    message = await outbox.next_message(store, "shop", "hook")
    assert message
    await outbox.postpone(store, message, 20.25)
    assert await waiting() == [("first", 20.25, 1)]
    await outbox.finish(store, message)
    assert await waiting() == [("second", 10.5, 0)]
    # A key that was sent is known until it is pruned.
    await outbox.add(store, "shop", ["hook"], "first", "{}", 30.0)
    assert (await outbox.waiting(store))["shop", "hook"] == 1
    await outbox.prune(store, outbox.RETENTION + 11)
    await outbox.add(store, "shop", ["hook"], "first", "{}", 30.0)
    assert (await outbox.waiting(store))["shop", "hook"] == 2
    await outbox.record_result(store, "shop", "hook", "away", by=TESTER)
    assert (await outbox.results(store, "shop", ["hook", "mail"]))["hook"].error == "away"
    await outbox.forget(store, "shop", "hook")
    assert await waiting() == []
    assert (await outbox.results(store, "shop", ["hook"]))["hook"] == outbox.Results()

"""Lists with labels are read by the index of labels if few records have them, with the same result."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from pipecd.clock import SYSTEM_CLOCK
from pipecd.controlplane.store import DEFAULT_SETTINGS, Store, lists, postgresql, sqlite, tables
from pipecd.controlplane.store.lists import ApplicationFilter, DeploymentFilter, EventFilter, Paging
from pipecd.controlplane.store.statements import Command, Result
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from tests.actors import TESTER

#: Also with several lines, characters that mean something to JSON, and longer than what is indexed.
LABELS: Sequence[dict[str, str]] = (
    {"env": "a"},
    {"env": "b"},
    {"team": "a"},
    {"env": "a", "team": "b"},
    {"odd": "a\nb"},
    {"o\ndd": 'ü\\n"'},
    {"long": "x" * 300},
    {"long": "x" * 299 + "y"},
    {},
)


async def test_the_index_changes_no_result(store: Store) -> None:
    random = Random(1)
    for number in range(60):
        labels = {**random.choice(LABELS), **random.choice(LABELS)}
        fields: Mapping[str, Any] = {"id": f"r{number}", "project_id": "shop", "labels": labels}
        await store.create(Application(**fields, name="x"), Event(**fields, name="x"), by=TESTER)
        await store.create(Deployment(**fields, application_id=f"a{number}"), by=TESTER)
    for id in ("r1", "r2"):

        def exchange(record: Application) -> None:
            record.labels.clear()
            record.labels["team"] = "a"

        await store.update(Application, id, exchange, by=TESTER)
    never = replace(DEFAULT_SETTINGS, max_labelled_of_page=-1, max_labelled_of_list=-1)
    scanning = Store(store.database, store._clock, never)
    for _ in range(40):
        labels = random.choice(LABELS)
        sets: list[list[dict[str, str]] | None] = [None, [], [{}]]
        included = random.choice([*sets, random.sample(LABELS, 2), random.sample(LABELS[:4], 1)])
        results = [await _list_all(each, labels, included) for each in (store, scanning)]
        assert results[0] == results[1], (labels, included)


async def _list_all(
    store: Store, labels: Mapping[str, str], included: Sequence[Mapping[str, str]] | None
) -> Sequence[object]:
    """The ids of each list, and the counts by status."""
    paging = Paging(size=50)
    applications = ApplicationFilter(labels=labels, included=included)
    deployments = DeploymentFilter(labels=labels, included=included)
    events = EventFilter(labels=labels, included=included)
    pages = (
        await lists.applications(store, "shop", applications, paging),
        await lists.deployments(store, "shop", deployments, paging),
        await lists.events(store, "shop", events, paging),
    )
    complete = await lists.all_applications(store, "shop", applications)
    return [
        *([record.id for record in page.records] for page in pages),
        [record.id for record in complete],
        await lists.count_applications_by_status(store, "shop", applications),
    ]


async def test_a_label_of_few_records_reads_few_of_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page, a complete list and a count; also with a role that is limited by the label."""
    count, rare = 10_000, {"team": "rare"}
    columns = ("id", "project_id", "data", "version", "touched", "labels", "words")
    insert = sa.insert(tables.applications).inline()

    def fill(connection: Any) -> None:
        for number in range(count):
            labels = "\nteam:rare\n" if number % 1000 == 7 else f"\nteam:t{number % 5}\n"
            row = (f"a{number:05}", "shop", b"", 1, number, labels, "")
            connection.execute(insert, dict(zip(columns, row, strict=True)))

    await store.database.write(fill)
    if not store.database.sqlite:
        await store.database.read(lambda connection: connection.execute(sa.text("ANALYZE"), {}))
    read = await _reading(store, monkeypatch)
    for filters in (ApplicationFilter(labels=rare), ApplicationFilter(included=[rare])):
        page = await lists.applications(store, "shop", filters, Paging())
        assert len(page.records) == 10 and page.cursor == ""
        assert await read() < 500
        assert len(await lists.all_applications(store, "shop", filters)) == 10
        assert await read() < 500
        assert await lists.count_applications_by_status(store, "shop", filters) == {0: 10}
        assert await read() < 500
    without_index = Store(store.database, SYSTEM_CLOCK, replace(DEFAULT_SETTINGS, max_compared_labels=0))
    await lists.applications(without_index, "shop", ApplicationFilter(labels=rare), Paging())
    assert await read() >= count / 2, "all without the index"


async def _reading(store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that returns how many rows were read since it was last called; of SQLite, tens of steps."""
    if store.database.sqlite:
        steps = 0
        run = sqlite._Connection._run

        def count_steps(connection: Any, command: Command, values: Sequence[object]) -> Result:
            nonlocal steps

            def count() -> None:
                nonlocal steps
                steps += 1

            # A row of a scan takes some ten steps.
            connection.driver.set_progress_handler(count, 10)
            return run(connection, command, values)

        monkeypatch.setattr(sqlite._Connection, "_run", count_steps)

        async def steps_since() -> int:
            nonlocal steps
            counted, steps = steps, 0
            return counted

        return steps_since
    statements: list[tuple[str, Sequence[object]]] = []
    execute = postgresql._Connection._run

    def record(connection: Any, command: Command, values: Sequence[object]) -> Result:
        statements.append((command.text, values))
        return execute(connection, command, values)

    monkeypatch.setattr(postgresql._Connection, "_run", record)

    async def rows_since() -> int:
        driver = await asyncpg.connect(**postgresql._connection_arguments(store.database.url))
        try:
            rows = 0
            for text, values in statements:
                plan = await driver.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *values)
                rows += _rows_read(json.loads(plan)[0]["Plan"])
            statements.clear()
            return rows
        finally:
            await driver.close()

    return rows_since


def _rows_read(node: Mapping[str, Any]) -> int:
    """Rows of a node of a plan and its children, also those that did not match."""
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(rows * node["Actual Loops"]) + sum(map(_rows_read, node.get("Plans", ())))

"""Of two replicas on PostgreSQL, one sends notifications; when it is killed, the other one continues."""

import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import sqlalchemy as sa

from pipecd.controlplane.store import Store, outbox
from pipecd.controlplane.store.postgresql import CHANNEL
from pipecd.model.notification import PipedWentOffline
from pipecd.notify.message import message_of
from pipecd.notify.pipecd_json import pipecd_json
from tests.contracts.conftest import empty_postgres_url as empty_postgres_url
from tests.contracts.conftest import postgres_url as postgres_url
from tests.controlplane.server_fixture import PROJECT, spec
from tests.eventually import eventually
from tests.faults.notification_replica import run_jobs
from tests.piped.receiver_server import ReceiverServer, Reply
from tests.programs import Program, start_function

RECEIVER = "hook"
ROUNDS, MESSAGES = 2, 3
_SESSIONS = sa.table("pg_stat_activity", sa.column("datname"), sa.column("application_name"))
_LISTENING = sa.select(sa.func.count().label("replicas")).where(
    _SESSIONS.c.datname == sa.func.current_database(), _SESSIONS.c.application_name == CHANNEL
)


async def add_message(store: Store, number: int) -> None:
    event = PipedWentOffline(
        piped_id=f"p{number}", piped_name=str(number), project_id=PROJECT, version="1", instance="", at=number
    )
    message = message_of(
        event, piped=event.piped_id, project=PROJECT, web_address="", pipecd=pipecd_json(event)
    )
    # An old message would be given up if a slow replica took longer than an attempt may take.
    await outbox.add(store, PROJECT, [RECEIVER], event.key, message.to_json(), time.time())


def until(gate: threading.Event) -> Callable[[object], Reply]:
    """Answers when `gate` is set."""
    return lambda _: (204 if gate.wait(300) else 500, {}, "")


async def test_a_killed_replica_loses_no_notification(empty_postgres_url: str, tmp_path: Path) -> None:
    url = sa.make_url(empty_postgres_url)
    database = {
        "url": f"postgresql://{url.username}@",
        "database": f"{url.database}?host={url.query['host']}",
    }
    async with AsyncExitStack() as stack:
        server = stack.enter_context(ReceiverServer())
        receivers = [{"name": RECEIVER, "webhook": {"url": server.url}}]
        configuration = spec(
            tmp_path,
            datastore={"type": "POSTGRESQL", "config": database},
            projects=[{"id": PROJECT, "notifications": {"receivers": receivers}}],
        )
        # This also creates the tables.
        store = await Store.open(empty_postgres_url)
        stack.push_async_callback(store.close)

        def start() -> Program:
            program = start_function(run_jobs, configuration, output=tmp_path / "replicas.log")
            stack.callback(program.kill)
            return program

        async def both_run() -> bool:
            rows = await store.database.rows(_LISTENING)
            return int(rows[0].replicas) == 2

        async def nothing_waits() -> bool:
            return not await outbox.waiting(store)

        active = start()
        for each in range(ROUNDS):
            # The receiver answers only when the replica that has sent the message is dead.
            gate, before = threading.Event(), len(server.requests)
            server.answer = until(gate)
            for number in range(each * MESSAGES, (each + 1) * MESSAGES):
                await add_message(store, number)

            async def has_begun(before: int = before) -> bool:
                return len(server.requests) > before

            assert await eventually(has_begun)
            standby = start()
            assert await eventually(both_run)
            active.kill()
            gate.set()
            assert await eventually(nothing_waits)
            active = standby
        sent = [request.json["Metadata"]["name"] for request in server.requests]
        assert list(dict.fromkeys(sent)) == [str(number) for number in range(ROUNDS * MESSAGES)]
        for each in range(ROUNDS):
            name = str(each * MESSAGES)
            again = [request for request in server.requests if request.json["Metadata"]["name"] == name]
            assert len(again) >= 2, "it was sent again"
            assert len({(request.body, request.headers["webhook-id"]) for request in again}) == 1

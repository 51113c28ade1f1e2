"""Sends the messages of the outbox, at least once and in order.

One replica does it at a time. Each receiver has its own task: an unavailable one delays no other.
"""

import asyncio
from contextlib import suppress

import structlog
from prometheus_client import Counter

from pipecd.clock import timeout
from pipecd.controlplane.faults import contained
from pipecd.controlplane.notifications.receivers import OpenReceiver
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import outbox
from pipecd.controlplane.store.outbox import Waiting
from pipecd.errors import NotFound, PipecdError
from pipecd.model.actor import Actor, ActorKind
from pipecd.notify.delivery import attempt
from pipecd.notify.message import Message

log = structlog.get_logger()

LEASE = "job/send-notifications"
ACTOR = Actor(
    kind=ActorKind.JOB, id="send-notifications", name="send-notifications", action="send-notifications"
)
NOTIFICATIONS = Counter(
    "pipecd_notifications_total", "Messages to receivers of projects, by outcome of the attempt.", ["outcome"]
)
# All series exist from the start: one that appears with a value has no increase by it.
for outcome in ("delivered", "failed"):
    NOTIFICATIONS.labels(outcome)


class Sender:
    def __init__(self, services: Services, holder: str) -> None:
        """`holder` identifies this process."""
        self._services, self._holder = services, holder
        self._sending: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Runs until cancelled. Another replica takes over at once when this one is stopped."""
        settings, leases = self._services.settings.notifications, self._services.store.leases
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    try:
                        if await leases.acquire(LEASE, self._holder, settings.lease_duration):
                            await self._start(tasks)
                    except PipecdError as error:
                        log.warning("notifications_not_sent", error=str(error))
                    await self._wait(settings.interval)
        finally:
            with suppress(PipecdError):
                await leases.release(LEASE, self._holder)

    async def _wait(self, seconds: float) -> None:
        """Until messages were added by this process, or for `seconds`."""
        with suppress(TimeoutError):
            async with timeout(self._services.clock, seconds):
                await self._services.outbox_changed.wait()
        self._services.outbox_changed.clear()

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to send to each receiver that messages wait for."""
        self._sending = {pair: task for pair, task in self._sending.items() if not task.done()}
        for project_id, name in await outbox.waiting(self._services.store):
            if (project_id, name) not in self._sending:
                task = tasks.create_task(self._send_due(project_id, name), name=f"notifications {name}")
                self._sending[project_id, name] = task

    async def _send_due(self, project_id: str, name: str) -> None:
        """Send until nothing is due."""
        try:
            with contained(ACTOR.id):
                receiver = await self._find(project_id, name)
                while message := await outbox.next_message(self._services.store, project_id, name):
                    if message.due_at > self._services.clock.now():
                        return
                    await self._send(project_id, name, receiver, message)
        except PipecdError as error:
            log.warning("notifications_not_sent", receiver=name, project=project_id, error=str(error))

    async def _find(self, project_id: str, name: str) -> OpenReceiver | None:
        """None for a receiver that was removed."""
        with suppress(NotFound):
            return (await self._services.receivers.of(project_id)).get(name)
        return None

    async def _send(
        self, project_id: str, name: str, receiver: OpenReceiver | None, message: Waiting
    ) -> None:
        services = self._services
        if receiver is None:
            await outbox.finish(services.store, message)
            return
        settings = services.settings.notifications
        body = Message.from_json(message.body)
        outcome = await attempt(receiver.send, body, services.clock, settings.delivery_timeout)
        now, error = services.clock.now(), receiver.redact(outcome.error)
        NOTIFICATIONS.labels("failed" if error else "delivered").inc()
        given_up = outcome.permanent or now - message.created_at > settings.max_age
        if error:
            log.warning(
                "notification_not_delivered",
                receiver=name,
                project=project_id,
                key=message.key,
                error=error,
                given_up=given_up,
            )
        if error and not given_up:
            await outbox.postpone(services.store, message, now + outcome.delay(message.attempts))
        else:
            await outbox.finish(services.store, message)
        await outbox.record_result(services.store, project_id, name, error, by=ACTOR)

"""Sends messages to the receivers of the agent's file, at least once and in order.

Each receiver has its own task: an unavailable one delays no other. A message that was not accepted is
sent again, with a delay that grows, or that the receiver requested (Retry-After). After a day it is given up.
What a receiver refuses for good is given up at once, is logged, and does not block what follows.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from pipecd.clock import Clock, timeout
from pipecd.config.notifications import Route
from pipecd.errors import NotFound, PipecdError, Refused
from pipecd.model.notification import NotificationEvent
from pipecd.notify.delivery import LAST_DELAY, TEST_TIMEOUT, Outcome, Send, attempt
from pipecd.notify.message import Message
from pipecd.notify.routing import receivers_of
from pipecd.piped.loop import Feed, Wake
from pipecd.piped.metrics import (
    INTERNAL_ERRORS,
    NOTIFICATIONS,
    OUTBOX_PENDING,
    start_counting_notifications,
)
from pipecd.piped.notify.outbox import Outbox, Result, Waiting
from pipecd.piped.settings import NotifierSettings

log = structlog.get_logger()

#: After an error of the outbox, such as a full disk (seconds).
_STORAGE_DELAY = 60.0


@dataclass(frozen=True, kw_only=True)
class Status:
    """A receiver's last results, and how many messages it has not accepted yet."""

    name: str
    succeeded: Result | None
    failed: Result | None
    waiting: int


class Receivers:
    def __init__(
        self,
        sinks: Mapping[str, Send],
        routes: Sequence[Route],
        outbox: Outbox,
        to_message: Callable[[NotificationEvent, Sequence[str]], Message],
        clock: Clock,
        settings: NotifierSettings,
    ) -> None:
        """`sinks` by the receiver's name. `to_message` gets the names of those that a message is for."""
        self._sinks, self._routes, self._outbox, self._to_message = sinks, routes, outbox, to_message
        self._clock, self._settings = clock, settings
        self._wakes = {name: Wake() for name in sinks}
        for name in sinks:
            start_counting_notifications(name)
        #: Signals that a result, or the number of waiting messages, changed.
        self.changed = Feed()
        #: What is being sent. A shutdown does not interrupt it: the receiver may have got it already.
        self._sending: dict[str, asyncio.Task[None]] = {}

    def add(self, event: NotificationEvent) -> None:
        """Stores the event for the receivers that its routes name. Returns at once, and never raises."""
        names = receivers_of(event, self._routes)
        if not names:
            return
        try:
            body, now = self._to_message(event, names).to_json(), self._clock.now()
            for name in names:
                if lost := self._outbox.add(name, event.key, body, now):
                    NOTIFICATIONS.labels(name, "lost").inc(lost)
                    log.warning("notification_lost", sink=name, count=lost, reason="too many are queued")
                self._wakes[name]()
                OUTBOX_PENDING.labels(name).set(self._outbox.count(name))
            self.changed()
        except (sqlite3.Error, ValueError):
            # A full disk, for example. The work that emitted the event continues.
            INTERNAL_ERRORS.labels(loop="notifier").inc()
            log.exception("notification_not_stored", key=event.key)

    def statuses(self) -> Sequence[Status]:
        """The receivers in the order of the agent's file."""
        return [self._status(name) for name in self._sinks]

    def _status(self, name: str) -> Status:
        return Status(
            name=name,
            succeeded=self._outbox.last(name, succeeded=True),
            failed=self._outbox.last(name, succeeded=False),
            waiting=self._outbox.count(name),
        )

    async def test(self, name: str, message: Message) -> None:
        """Send a message at once, before those that wait. Raises NotFound, or why it was not accepted."""
        if name not in self._sinks:
            raise NotFound(f"the agent has no receiver {name!r}")
        error = "internal error; see the agent's log"
        try:
            async with timeout(self._clock, TEST_TIMEOUT):
                await self._sinks[name](message)
            error = ""
        except TimeoutError:
            error = f"it took longer than {TEST_TIMEOUT:g} s"
            raise Refused(f"the receiver {name} was not reached: {error}") from None
        except PipecdError as failure:
            error = str(failure)
            raise
        finally:
            self._outbox.record(name, message.key, self._clock.now(), error=error)
            self.changed()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._sinks:
                tasks.create_task(self._run(name), name=f"notifications {name}")

    async def flush(self) -> None:
        """Sends what is due, once, after `run` has ended; the rest waits for the next process."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in self._sinks:
                    tasks.create_task(self._flush(name), name=f"notifications {name}")
        finally:
            for sending in self._sending.values():
                sending.cancel()

    async def _flush(self, name: str) -> None:
        try:
            if sending := self._sending.get(name):
                await sending
            await self._send_due(name)
        except sqlite3.Error:
            log.exception("unhandled_error", sink=name)

    async def _run(self, name: str) -> None:
        while True:
            try:
                wait = await self._send_due(name)
                OUTBOX_PENDING.labels(name).set(self._outbox.count(name))
            except sqlite3.Error:
                INTERNAL_ERRORS.labels(loop="notifier").inc()
                log.exception("unhandled_error", sink=name)
                wait = _STORAGE_DELAY
            if wait is None:
                await self._wakes[name].wait()
            else:
                # New messages wait behind the one that is not accepted.
                await self._clock.sleep(wait)

    async def _send_due(self, name: str) -> float | None:
        """Sends until nothing is due. Returns the seconds until something is, or None if nothing waits."""
        while message := self._outbox.next(name):
            wait = message.due_at - self._clock.now()
            # At most the longest delay, also if the machine's clock was set back.
            if wait > 0:
                return min(wait, LAST_DELAY)
            sending = asyncio.create_task(self._send(name, message), name=f"notification {message.key}")
            self._sending[name] = sending
            await asyncio.shield(sending)
        return None

    async def _send(self, name: str, message: Waiting) -> None:
        outcome = await self._attempt(name, message)
        now = self._clock.now()
        if not outcome.error:
            self._outbox.finish(name, message, now)
            NOTIFICATIONS.labels(name, "delivered").inc()
            self.changed()
            return
        given_up = outcome.permanent or now - message.created_at > self._settings.max_age
        log.warning(
            "notification_not_delivered",
            sink=name,
            key=message.key,
            error=outcome.error,
            given_up=given_up,
        )
        NOTIFICATIONS.labels(name, "failed").inc()
        if given_up:
            self._outbox.finish(name, message, now, error=outcome.error)
        else:
            due_at = now + outcome.delay(message.attempts)
            self._outbox.postpone(name, message, now, due_at=due_at, error=outcome.error)
        self.changed()

    async def _attempt(self, name: str, message: Waiting) -> Outcome:
        body = Message.from_json(message.body)
        outcome = await attempt(self._sinks[name], body, self._clock, self._settings.delivery_timeout)
        if outcome.internal:
            INTERNAL_ERRORS.labels(loop="notifier").inc()
        return outcome

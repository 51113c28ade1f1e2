"""Delivers notification events to sinks, without delaying or failing the work that emits them.

Each sink has its own queue and its own task: a slow, hanging or broken sink delays and loses events of no
other sink. An event that was emitted before, according to its key, is delivered once. At shutdown `flush`
delivers what is still queued.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import Clock, timeout
from pipecd.errors import PipecdError
from pipecd.model.notification import NotificationEvent
from pipecd.piped.loop import Wake
from pipecd.piped.metrics import INTERNAL_ERRORS, NOTIFICATIONS, start_counting_notifications
from pipecd.piped.notify.receivers import Receivers
from pipecd.piped.notify.redaction import redact_event
from pipecd.piped.settings import NotifierSettings

log = structlog.get_logger()

Sink = Callable[[NotificationEvent], Awaitable[None]]


class Notifier:
    def __init__(
        self,
        sinks: Mapping[str, Sink],
        redact: Callable[[str], str],
        clock: Clock,
        settings: NotifierSettings,
        receivers: Receivers | None = None,
    ) -> None:
        """`sinks` by the name that logs and metrics show; what they have not written is lost by a kill.

        `redact` removes known secrets from a text. `receivers` are those of the agent's file.
        """
        self._receivers = receivers
        self._queues = [_SinkQueue(name, sink, clock, settings) for name, sink in sinks.items()]
        self._redact, self._clock, self._settings = redact, clock, settings
        self._emitted = BoundedDict[str, None](settings.max_remembered_keys)

    def __call__(self, event: NotificationEvent) -> None:
        """Queues the event for every sink. Returns immediately, and never raises because of a sink."""
        if event.key in self._emitted:
            return
        self._emitted[event.key] = None
        redacted = redact_event(event, self._redact)
        for queue in self._queues:
            queue.add(redacted)
        if self._receivers:
            self._receivers.add(redacted)

    async def run(self) -> None:
        """Delivers events as they are emitted. Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for queue in self._queues:
                tasks.create_task(queue.run(), name=f"notifications {queue.name}")
            if self._receivers:
                tasks.create_task(self._receivers.run(), name="notifications of receivers")

    async def flush(self) -> None:
        """Delivers the queued events, after `run` has ended. Gives up after `flush_timeout`."""
        seconds = self._settings.flush_timeout
        try:
            async with timeout(self._clock, seconds), asyncio.TaskGroup() as tasks:
                for queue in self._queues:
                    tasks.create_task(queue.deliver_all(), name=f"notifications {queue.name}")
                if self._receivers:
                    tasks.create_task(self._receivers.flush(), name="notifications of receivers")
        except TimeoutError:
            undelivered = {queue.name: len(queue) for queue in self._queues if len(queue)}
            log.warning("notifications_not_flushed", timeout_seconds=seconds, **undelivered)


class _SinkQueue:
    def __init__(self, name: str, sink: Sink, clock: Clock, settings: NotifierSettings) -> None:
        self.name, self._sink, self._clock, self._settings = name, sink, clock, settings
        self._events: deque[NotificationEvent] = deque()
        #: The event that is being delivered, or whose delivery the shutdown cancelled.
        self._current: NotificationEvent | None = None
        self._wake = Wake()
        start_counting_notifications(name)

    def __len__(self) -> int:
        return len(self._events) + (self._current is not None)

    def add(self, event: NotificationEvent) -> None:
        self._events.append(event)
        if len(self._events) > self._settings.max_queued:
            lost = self._events.popleft()
            NOTIFICATIONS.labels(self.name, "lost").inc()
            log.warning("notification_lost", sink=self.name, key=lost.key, reason="too many are queued")
        self._wake()

    async def run(self) -> None:
        while True:
            await self.deliver_all()
            await self._wake.wait()

    async def deliver_all(self) -> None:
        while len(self):
            self._current = self._current or self._events.popleft()
            outcome = await self._deliver(self._current)
            self._current = None
            NOTIFICATIONS.labels(self.name, outcome).inc()

    async def _deliver(self, event: NotificationEvent) -> str:
        """Whether the event was delivered, as a metric's label."""
        seconds = self._settings.delivery_timeout
        try:
            async with timeout(self._clock, seconds):
                await self._sink(event)
        except (PipecdError, TimeoutError) as error:
            message = str(error) or f"it took longer than {seconds:g} s"
            log.warning("notification_not_delivered", sink=self.name, key=event.key, error=message)
            return "failed"
        except Exception:
            INTERNAL_ERRORS.labels(loop="notifier").inc()
            log.exception("unhandled_error", sink=self.name, key=event.key)
            return "failed"
        return "delivered"

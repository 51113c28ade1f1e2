"""Notifications: no sink delays or loses events of another, and every event is delivered once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog

from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.errors import Temporary
from pipecd.model.application import Application, GitPath
from pipecd.model.notification import (
    ApplicationWentOutOfSync,
    DeploymentFailed,
    DeploymentStarted,
    NotificationEvent,
    PipedStarted,
    StageFailed,
)
from pipecd.model.status import StageStatus
from pipecd.piped.metrics import NOTIFICATIONS
from pipecd.piped.notify.event_log import write_to_log
from pipecd.piped.notify.notifier import Notifier, Sink
from pipecd.piped.settings import NotifierSettings
from pipecd.secrets import Redactor
from tests.model.samples import deployment, stage
from tests.virtual_clock import VirtualClock

SETTINGS = NotifierSettings()
APPLICATION = Application(
    id="a",
    name="shop",
    piped_id="p",
    project_id="j",
    kind="TERRAFORM",
    git_path=GitPath(repo_id="r", path="shop"),
)


def started(deployment_id: str) -> DeploymentStarted:
    return DeploymentStarted(at=1, deployment=replace(deployment(), id=deployment_id))


class Receiver:
    """A sink that records the keys of its events. While `open` is not set, it does not answer."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.events: list[NotificationEvent] = []
        self.open = asyncio.Event()
        self.open.set()
        self._changed = asyncio.Condition()

    async def __call__(self, event: NotificationEvent) -> None:
        await self.open.wait()
        self.keys.append(event.key)
        self.events.append(event)
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.keys) >= count)


@asynccontextmanager
async def running(
    settings: NotifierSettings = SETTINGS, clock: Clock = SYSTEM_CLOCK, **sinks: Sink
) -> AsyncIterator[Notifier]:
    notifier = Notifier(sinks, lambda text: text, clock, settings)
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        await asyncio.wait([task])


async def broken(event: NotificationEvent) -> None:
    raise RuntimeError("a bug")


async def unreachable(event: NotificationEvent) -> None:
    raise Temporary("the receiver is away")


async def hanging(event: NotificationEvent) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("other", [broken, unreachable, hanging])
async def test_a_sink_that_fails_or_hangs_delays_and_loses_nothing_of_another(other: Sink) -> None:
    receiver = Receiver()
    async with running(other=other, receiver=receiver) as notifier:
        for number in range(100):
            notifier(started(str(number)))
        await receiver.wait_for(100)
    assert receiver.keys == [f"{number}/DEPLOYMENT_STARTED" for number in range(100)]


async def test_emitting_never_waits_and_the_oldest_events_of_a_full_queue_are_lost() -> None:
    settings = NotifierSettings(max_queued=10)
    slow, quick = Receiver(), Receiver()
    slow.open.clear()
    lost = NOTIFICATIONS.labels("slow", "lost")
    before = lost._value.get()
    async with running(settings, slow=slow, quick=quick) as notifier:
        for number in range(30):
            notifier(started(str(number)))
            await quick.wait_for(number + 1)
        slow.open.set()
        await slow.wait_for(11)
    assert len(quick.keys) == 30
    # The first one was being delivered when the queue filled up.
    assert [key.split("/")[0] for key in slow.keys] == ["0", *map(str, range(20, 30))]
    assert lost._value.get() - before == 19


async def test_a_delivery_that_takes_too_long_is_given_up() -> None:
    clock, receiver = VirtualClock(), Receiver()

    async def first_hangs(event: NotificationEvent) -> None:
        await (hanging(event) if event.key.startswith("0/") else receiver(event))

    async with running(clock=clock, sink=first_hangs) as notifier:
        notifier(started("0"))
        notifier(started("1"))
        await clock.advance(SETTINGS.delivery_timeout - 1)
        assert receiver.keys == []
        await clock.advance(1)
    assert receiver.keys == ["1/DEPLOYMENT_STARTED"]


async def test_an_event_that_is_emitted_again_is_delivered_once() -> None:
    receiver, settings = Receiver(), NotifierSettings(max_remembered_keys=3)
    async with running(settings, receiver=receiver) as notifier:
        for name in ("a", "a", "b", "a", "c", "d", "d", "a"):
            notifier(started(name))
        await receiver.wait_for(5)
    # The number of remembered keys is bounded, so the first one was forgotten.
    assert [key.split("/")[0] for key in receiver.keys] == ["a", "b", "c", "d", "a"]


async def test_flush_delivers_what_a_shutdown_interrupted() -> None:
    receiver = Receiver()
    receiver.open.clear()
    async with running(receiver=receiver) as notifier:
        notifier(started("a"))
        notifier(started("b"))
        await asyncio.sleep(0)
    assert receiver.keys == []
    receiver.open.set()
    notifier(started("c"))
    await notifier.flush()
    assert [key.split("/")[0] for key in receiver.keys] == ["a", "b", "c"]


async def test_flush_gives_up_on_a_hanging_sink_only() -> None:
    clock, receiver = VirtualClock(), Receiver()
    notifier = Notifier({"hanging": hanging, "receiver": receiver}, lambda text: text, clock, SETTINGS)
    notifier(started("a"))
    notifier(started("b"))
    with structlog.testing.capture_logs() as logs:
        await clock.run(notifier.flush())
    assert clock.monotonic() == SETTINGS.flush_timeout
    assert receiver.keys == ["a/DEPLOYMENT_STARTED", "b/DEPLOYMENT_STARTED"]
    (warning,) = [entry for entry in logs if entry["event"] == "notifications_not_flushed"]
    assert warning["hanging"] == 2 and "receiver" not in warning


async def test_no_text_of_an_event_contains_a_secret() -> None:
    secret = "hunter2hunter2"
    failed = stage(status=StageStatus.FAILURE, reason=f"said {secret}", metadata={"display": secret})
    failing = replace(deployment(), reason=secret, summary=secret, stages=(failed,), shared={"value": secret})
    receiver = Receiver()
    notifier = Notifier({"receiver": receiver}, Redactor([secret]).text, SYSTEM_CLOCK, SETTINGS)
    notifier(DeploymentFailed(at=1, deployment=failing, reason=f"stage failed: {secret}"))
    notifier(StageFailed(at=1, deployment=failing, stage=failed))
    await notifier.flush()
    assert len(receiver.events) == 2
    assert secret not in repr(receiver.events)
    assert "******" in repr(receiver.events)


LOG_LINES: dict[str, tuple[Callable[[], NotificationEvent], dict[str, str]]] = {
    "a deployment": (
        lambda: DeploymentFailed(at=1, deployment=deployment(), reason="no space"),
        {"application": "app", "deployment": "d", "commit": "c" * 40, "reason": "no space"},
    ),
    "a stage": (
        lambda: StageFailed(at=1, deployment=deployment(), stage=stage(reason="exit 1")),
        {
            "application": "app",
            "deployment": "d",
            "commit": "c" * 40,
            "stage": "s",
            "stage_reason": "exit 1",
        },
    ),
    "an application, without the values of its differences": (
        lambda: ApplicationWentOutOfSync(
            at=1, application=APPLICATION, summary="1 to change", reason='- size = "s"\n+ size = "m"'
        ),
        {"application": "shop", "summary": "1 to change"},
    ),
    "an agent": (
        lambda: PipedStarted(
            at=1, piped_id="p", piped_name="main", project_id="j", version="1", instance="i"
        ),
        {"piped_id": "p", "piped_name": "main", "project_id": "j", "version": "1", "instance": "i"},
    ),
}


@pytest.mark.parametrize("case", LOG_LINES.values(), ids=LOG_LINES.keys())
async def test_the_log_names_the_event_and_what_it_is_about(
    case: tuple[Callable[[], NotificationEvent], dict[str, str]],
) -> None:
    create, fields = case
    event = create()
    with structlog.testing.capture_logs() as logs:
        await write_to_log(event)
    (entry,) = logs
    assert entry == {
        "event": "notification",
        "log_level": "info",
        "event_name": event.name,
        "key": event.key,
        **fields,
    }

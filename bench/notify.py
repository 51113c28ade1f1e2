"""Event → webhook on the loopback interface: agent, also if another receiver hangs, and control plane.

The agent's event is the end of a deployment.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from bench.figures import report
from pipecd.controlplane.store import outbox
from pipecd.model.notification import DeploymentSucceeded, NotificationEvent
from pipecd.notify.message import test_message
from pipecd.piped.notify.notifier import Notifier
from tests.controlplane.server_fixture import PASSWORD_HASH, PROJECT, USER
from tests.world import World, pipeline, world

RUNS = 50
TARGET = 0.3
#: Seconds until the benchmark gives up.
PATIENCE = 60.0


class Hook:
    """A receiver that keeps when each message arrived, by the title and by the order of arrival."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self.url = ""

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(size.partition(b":")[2]))
        self.arrived.put_nowait((time.monotonic(), body))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    receiver = Hook()
    server = await asyncio.start_server(receiver.receive, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield receiver


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """Accepts connections and never answers."""
    ended = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    ended.set()
    server.close()


async def run(folder: Path) -> None:
    async with hook() as of_agent, hook() as of_project, hanging() as hangs:
        receivers = [{"name": "hook", "webhook": {"url": of_project.url}}]
        admin = {"username": USER, "passwordHash": PASSWORD_HASH}
        projects = [{"id": PROJECT, "staticAdmin": admin, "notifications": {"receivers": receivers}}]
        async with world(folder, projects=projects) as w:
            with _emitted() as emitted:
                await _measure_agent(w, of_agent, hangs, emitted)
            times = [await _measure_project(w, of_project, number) for number in range(RUNS)]
            report("control plane: event → webhook", times, "s", target=TARGET)


async def _measure_agent(w: World, receiver: Hook, hangs: str, emitted: list[float]) -> None:
    async with w.agent(notifications=_notifications(receiver.url)):
        app = await _application(w)
        times = await _measure(w, app, receiver, emitted)
        report("agent: event → webhook", times, "s", target=TARGET)
    async with w.agent(notifications=_notifications(receiver.url, hangs)):
        times = await _measure(w, app, receiver, emitted)
        report("agent: event → webhook, another one hangs", times, "s", target=TARGET)


def _notifications(url: str, hangs: str = "") -> dict[str, Any]:
    receivers = [{"name": "hook", "webhook": {"url": url}}]
    routes: list[dict[str, Any]] = [{"receiver": "hook", "events": ["DEPLOYMENT_SUCCEEDED"]}]
    if hangs:
        receivers.append({"name": "hangs", "webhook": {"url": hangs}})
        routes.append({"receiver": "hangs"})
    return {"receivers": receivers, "routes": routes}


async def _application(w: World) -> str:
    app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
    await w.wait_for_deployment(app)
    return app


async def _measure(w: World, app: str, receiver: Hook, emitted: list[float]) -> list[float]:
    """Seconds from the time at which a deployment's end was emitted."""
    while not receiver.arrived.empty():
        receiver.arrived.get_nowait()
    times = []
    for _ in range(RUNS):
        emitted.clear()
        await w.console.call("SyncApplication", application_id=app)
        async with asyncio.timeout(PATIENCE):
            arrived, _ = await receiver.arrived.get()
        times.append(arrived - emitted[0])
    return times


@contextmanager
def _emitted() -> Iterator[list[float]]:
    """When the agent has emitted that a deployment succeeded."""
    times: list[float] = []
    emit = Notifier.__call__

    def timed(notifier: Notifier, event: NotificationEvent) -> None:
        if isinstance(event, DeploymentSucceeded):
            times.append(time.monotonic())
        emit(notifier, event)

    Notifier.__call__ = timed  # type: ignore[method-assign, assignment]
    try:
        yield times
    finally:
        Notifier.__call__ = emit  # type: ignore[method-assign]


async def _measure_project(w: World, receiver: Hook, number: int) -> float:
    """Seconds from the notice to the arrival."""
    services = w.plane.server.services
    message = test_message(piped="", project=PROJECT, web_address="", at=services.now())
    started = time.monotonic()
    await outbox.add(
        services.store, PROJECT, ["hook"], f"{message.key}/{number}", message.to_json(), services.clock.now()
    )
    services.outbox_changed.set()
    async with asyncio.timeout(PATIENCE):
        arrived, _ = await receiver.arrived.get()
    return arrived - started

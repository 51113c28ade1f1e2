"""push → created → planned → running → done, with a webhook, with a streamed command, and with polling only.

The application runs one short script. Times are measured in the control plane's change feed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import report
from pipecd.controlplane.store.feed import Change
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from tests.world import World, pipeline, world

RUNS = 30
#: Of the polling agent, in seconds.
POLL_INTERVAL = 2
STEPS = {
    "created": DeploymentStatus.DEPLOYMENT_PENDING,
    "planned": DeploymentStatus.DEPLOYMENT_PLANNED,
    "running": DeploymentStatus.DEPLOYMENT_RUNNING,
    "done": DeploymentStatus.DEPLOYMENT_SUCCESS,
}


async def run(folder: Path) -> None:
    async with world(folder) as w:
        async with w.agent():
            app = await w.add_application(
                "shop", {"app.pipecd.yaml": pipeline("true", planner={"alwaysUsePipeline": True})}
            )
            await w.wait_for_deployment(app)
            await _measure(w, "webhook", w.push)
            await _measure(w, "stream (sync command)", lambda _, __: _sync(w, app))
        polling = w.agent(syncInterval=f"{POLL_INTERVAL}s")
        async with polling, _without_webhooks(w):
            await _measure(w, f"polling only, every {POLL_INTERVAL} s", super(World, w).push)


async def _measure(w: World, name: str, trigger: object) -> None:
    times: dict[str, list[float]] = {step: [] for step in STEPS}
    for number in range(RUNS):
        durations = await _measure_once(w, number, trigger)
        for step, seconds in durations.items():
            times[step].append(seconds)
    for step, values in times.items():
        target = 2.0 if step == "running" and "polling" not in name else None
        report(f"{name}: push → {step}", values, "s", target=target)


async def _measure_once(w: World, number: int, trigger: object) -> dict[str, float]:
    """Seconds from the accepted push (or the command) to each step."""
    store = w.plane.server.services.store
    durations: dict[str, float] = {}
    with store.feed.subscribe() as changes:
        await trigger(f"Run {number}", {"shop/run.txt": f"{time.time_ns()}\n"})  # type: ignore[operator]
        started = time.monotonic()
        async with asyncio.timeout(60):
            while len(durations) < len(STEPS):
                change: Change = await changes.get()
                if change.kind != "deployment":
                    continue
                status = (await store.get(Deployment, change.id)).message.status
                for step, step_status in STEPS.items():
                    if status >= step_status and step not in durations:
                        durations[step] = time.monotonic() - started
    return durations


async def _sync(w: World, app: str) -> None:
    await w.console.call("SyncApplication", application_id=app)


@asynccontextmanager
async def _without_webhooks(w: World) -> AsyncIterator[None]:
    """Without push notifications, the agent detects pushes only by polling."""
    await asyncio.sleep(POLL_INTERVAL)
    yield

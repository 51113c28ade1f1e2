"""push → created → planned → running → done, by webhook, by command over the stream, and by polling only.

The application is one short script. Times are seen in the control plane's own change feed.
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
#: Of the polling agent (seconds).
POLL = 2
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
            await _many(w, "webhook", w.push)
            await _many(w, "stream (sync command)", lambda _, __: _sync(w, app))
        polling = w.agent(syncInterval=f"{POLL}s")
        async with polling, _deaf(w):
            await _many(w, f"polling only, every {POLL} s", super(World, w).push)


async def _many(w: World, name: str, cause: object) -> None:
    times: dict[str, list[float]] = {step: [] for step in STEPS}
    for number in range(RUNS):
        seen = await _once(w, number, cause)
        for step, second in seen.items():
            times[step].append(second)
    for step, values in times.items():
        target = 2.0 if step == "running" and "polling" not in name else None
        report(f"{name}: push → {step}", values, "s", target=target)


async def _once(w: World, number: int, cause: object) -> dict[str, float]:
    """Seconds from the push's acceptance (or the command) to each step."""
    store = w.plane.server.services.store
    seen: dict[str, float] = {}
    with store.feed.subscribe() as changes:
        await cause(f"Run {number}", {"shop/run.txt": f"{time.time_ns()}\n"})  # type: ignore[operator]
        begun = time.monotonic()
        async with asyncio.timeout(60):
            while len(seen) < len(STEPS):
                change: Change = await changes.get()
                if change.kind != "deployment":
                    continue
                status = (await store.get(Deployment, change.id)).message.status
                for step, wanted in STEPS.items():
                    if status >= wanted and step not in seen:
                        seen[step] = time.monotonic() - begun
    return seen


async def _sync(w: World, app: str) -> None:
    await w.console.call("SyncApplication", application_id=app)


@asynccontextmanager
async def _deaf(w: World) -> AsyncIterator[None]:
    """Nobody tells of pushes: the agent must look for itself."""
    await asyncio.sleep(POLL)
    yield

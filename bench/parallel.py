"""One push that deploys 50 applications at once: time until all have ended, and what blocks the event loop.

Agent and control plane run in this process, so that it is that of both.
"""

import asyncio
import time
from pathlib import Path

from bench.figures import report_value
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.eventually import eventually
from tests.loop_latency import loop_latency
from tests.world import World, pipeline, terraform, world

APPLICATIONS = 50
#: Goals, in seconds.
MAX_SECONDS, MAX_DELAY = 60.0, 0.5


async def run(folder: Path) -> None:
    async with world(folder) as w, w.agent():
        await w.push(
            "Add", {path: text for number in range(APPLICATIONS) for path, text in _files(w, number)}
        )
        names = [f"app-{number}" for number in range(APPLICATIONS)]
        ids = [await w.register(name, kind=TERRAFORM) for name in names]
        for application in ids:
            await w.wait_for_deployment(application)
        started = time.perf_counter()
        async with loop_latency(with_collector=True) as latency:
            commit = await w.push("Change all", {f"{name}/value": "2" for name in names})
            ended = await asyncio.gather(*(_wait(w, application, commit) for application in ids))
            seconds = time.perf_counter() - started
        report_value(f"{APPLICATIONS} deployments: push → all done", seconds, "s", maximum=MAX_SECONDS)
        report_value("  longest computation on the event loop", latency.longest, "s", maximum=MAX_DELAY)
        assert set(ended) == {DeploymentStatus.DEPLOYMENT_SUCCESS}


def _files(w: World, number: int) -> list[tuple[str, str]]:
    name = f"app-{number}"
    script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done"
    return [
        (f"{name}/app.pipecd.yaml", pipeline(script, name=name)),
        (f"{name}/main.tf", terraform(w.folder / f"{number}.tfstate")),
    ]


async def _wait(w: World, application: str, commit: str) -> int:
    async def created() -> bool:
        return any(one.trigger.commit.hash == commit for one in await w.deployments(application))

    await eventually(created, 240)
    return (await w.wait_for_deployment(application, commit)).status

"""One agent with 10 and with 1,000 applications in one repository: memory, and time from push to deployment.

The agent runs as a separate process, so its memory can be measured.
"""

import asyncio
import time
from pathlib import Path

import psutil

from bench.agent_process import start_agent
from bench.figures import report, report_value
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.actors import TESTER
from tests.eventually import eventually
from tests.world import World, pipeline, terraform, world

SIZES = (10, 1000)
COMMITS = 10


async def run(folder: Path) -> None:
    for size in SIZES:
        subfolder = folder / str(size)
        subfolder.mkdir()
        async with world(subfolder) as w:
            await _measure(w, size)


async def _measure(w: World, size: int) -> None:
    head = await asyncio.to_thread(
        w.clone.commit_and_push,
        "All applications",
        {
            f"apps/{number}/{name}": text
            for number in range(size)
            for name, text in {
                "app.pipecd.yaml": pipeline("true", name=f"app-{number}"),
                "main.tf": terraform(w.folder / f"{number}.tfstate"),
            }.items()
        },
    )
    store = w.plane.server.services.store
    for number in range(size):
        await store.create(_deployed_application(w, number, head), by=TESTER)
    agent = await start_agent(w)
    try:
        console = w.console
        response = await eventually(lambda: console.call("GetPiped", piped_id=w.piped_id), 60)
        assert response.piped
        await eventually(lambda: _is_synced(w, agent), 120)
        times = [await _measure_push(w, number) for number in range(COMMITS)]
        report(f"{size} applications: push → created", times, "s", target=1.0)
        memory = psutil.Process(agent.pid).memory_info().rss / 2**20
        report_value(
            f"{size} applications: memory of the agent", memory, "MB", maximum=300 if size == 1000 else None
        )
    finally:
        agent.terminate()
        await agent.wait()


def _deployed_application(w: World, number: int, head: str) -> Application:
    application = Application(
        id=f"app-{number}",
        name=f"app-{number}",
        piped_id=w.piped_id,
        project_id="shop",
        kind=TERRAFORM,
        platform_provider="terraform",
        git_path=ApplicationGitPath(
            repo=ApplicationGitRepository(id="shop", remote=w.git.url("shop"), branch="main"),
            path=f"apps/{number}",
            config_filename="app.pipecd.yaml",
        ),
        created_at=1,
        updated_at=1,
    )
    for reference in (
        application.most_recently_triggered_deployment,
        application.most_recently_successful_deployment,
    ):
        reference.deployment_id = f"before-{number}"
        reference.config_filename = "app.pipecd.yaml"
        reference.trigger.commit.hash = head
        reference.trigger.timestamp = 1
        reference.started_at = reference.completed_at = 1
    return application


async def _is_synced(w: World, agent: asyncio.subprocess.Process) -> bool:
    """Whether the agent has checked the repository once."""
    assert agent.returncode is None, "the agent ended"
    response = await w.console.call("GetPiped", piped_id=w.piped_id)
    if not response.piped.repositories:
        return False
    started = time.monotonic()
    await _measure_push(w, 10_000)
    return time.monotonic() - started < 30


async def _measure_push(w: World, number: int) -> float:
    """Seconds from the push of a commit that changes one application to the creation of its deployment."""
    store = w.plane.server.services.store
    with store.feed.subscribe() as changes:
        commit = await w.push(f"Change {number}", {"apps/7/run.txt": f"{time.time_ns()}\n"})
        pushed_at = time.monotonic()
        async with asyncio.timeout(60):
            while True:
                change = await changes.get()
                if change.kind != "deployment":
                    continue
                record = (await store.get(Deployment, change.id)).message
                if record.trigger.commit.hash == commit:
                    return time.monotonic() - pushed_at

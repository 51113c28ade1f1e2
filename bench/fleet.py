"""One agent with 10 and with 1,000 applications in one repository: memory, and finding what a commit affects.

The agent is a process of its own, so that its memory is its alone.
"""

import asyncio
import sys
import time
from pathlib import Path

import psutil
import yaml

from bench.figures import report, report_value
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.eventually import eventually
from tests.world import World, agent_spec, pipeline, terraform, world

SIZES = (10, 1000)
COMMITS = 10


async def run(folder: Path) -> None:
    for size in SIZES:
        place = folder / str(size)
        place.mkdir()
        async with world(place) as w:
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
        await store.create(_registered(w, number, head))
    agent = await _start(w)
    try:
        console = w.console
        shown = await eventually(lambda: console.call("GetPiped", piped_id=w.piped_id), 60)
        assert shown.piped
        await eventually(lambda: _synced(w, agent), 120)
        times = [await _affected(w, number) for number in range(COMMITS)]
        report(f"{size} applications: push → created", times, "s", target=1.0)
        memory = psutil.Process(agent.pid).memory_info().rss / 2**20
        report_value(
            f"{size} applications: memory of the agent", memory, "MB", most=300 if size == 1000 else None
        )
    finally:
        agent.terminate()
        await agent.wait()


def _registered(w: World, number: int, head: str) -> Application:
    made = Application(
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
    for reference in (made.most_recently_triggered_deployment, made.most_recently_successful_deployment):
        reference.deployment_id = f"before-{number}"
        reference.config_filename = "app.pipecd.yaml"
        reference.trigger.commit.hash = head
        reference.trigger.timestamp = 1
        reference.started_at = reference.completed_at = 1
    return made


async def _start(w: World) -> asyncio.subprocess.Process:
    key = w.folder / "key"
    key.write_text(w.key)
    document = agent_spec(w.plane.address, w.piped_id, key, {"shop": w.git.url("shop")})
    file = w.folder / "piped.yaml"
    file.write_text(yaml.safe_dump(document))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipecd", "piped", f"--config-file={file}", "--insecure"),
        *("--admin-port=0", f"--home-dir={w.folder / 'home'}", "--log-level=error"),
    )


async def _synced(w: World, agent: asyncio.subprocess.Process) -> bool:
    """The agent has looked at the repository once."""
    assert agent.returncode is None, "the agent ended"
    answer = await w.console.call("GetPiped", piped_id=w.piped_id)
    if not answer.piped.repositories:
        return False
    before = time.monotonic()
    await _affected(w, 10_000)
    return time.monotonic() - before < 30


async def _affected(w: World, number: int) -> float:
    """Seconds until the deployment of a commit that touches one application was created."""
    store = w.plane.server.services.store
    with store.feed.subscribe() as changes:
        commit = await w.push(f"Change {number}", {"apps/7/run.txt": f"{time.time_ns()}\n"})
        begun = time.monotonic()
        async with asyncio.timeout(60):
            while True:
                change = await changes.get()
                if change.kind != "deployment":
                    continue
                record = (await store.get(Deployment, change.id)).message
                if record.trigger.commit.hash == commit:
                    return time.monotonic() - begun

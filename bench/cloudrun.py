"""Cloud Run on the emulated API: push → traffic shifted, and calls with 100 idle applications.

The agent runs as a process of its own. A change takes effect in the emulator after it was read twice, so the
times are those of the agent; Google adds its own.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.agent_process import start_agent
from bench.figures import report, report_value
from pipecd.platforms.cloudrun.traffic import shares_of
from pipecd.quickstart.cloud_run import CloudRun, serve
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import CLOUDRUN
from pipecd.schema.web.deployments_pb2 import ListDeploymentsRequest
from tests.deploy.cpu_quota import cpu_seconds, process_tree
from tests.eventually import eventually
from tests.platforms.cloudrun.conftest import job, provider_of, service
from tests.platforms.cloudrun.schema import check_body
from tests.world import World, world

SERVICES, JOBS = 90, 10
#: Services of each kind of deployment that are measured, and pushes to each.
MEASURED, RUNS = 4, 8
#: Of the 95th percentile of push → traffic shifted (seconds).
SHIFT_TARGET = 2.0
#: How long an idle agent is measured, after a time for its first checks (seconds).
REST, SETTLE = 300.0, 90.0
#: Google allows 3,000 reads and 180 writes a minute in a region; agents may share a project.
MAX_CALLS, MAX_DRY_RUNS = 300, 20
STAGES = (
    {"name": "CLOUDRUN_PROMOTE", "with": {"percent": 10}},
    {"name": "CLOUDRUN_PROMOTE", "with": {"percent": 100}},
)


async def run(folder: Path) -> None:
    cloud = CloudRun(check_body=check_body)
    with serve(cloud) as endpoint:
        provider = provider_of(endpoint, folder).model_dump(by_alias=True)
        providers = [{"name": "cloudrun", "type": "CLOUDRUN", "config": provider}]
        async with world(folder / "world") as w, _agent(w, providers) as agent:
            await _measure_shift(w, cloud, "quick sync", (), (100,))
            await _measure_shift(w, cloud, "promotion", STAGES, (10, 100))
            await _measure_rest(w, cloud, agent)


@asynccontextmanager
async def _agent(w: World, providers: Sequence[Mapping[str, Any]]) -> AsyncIterator[psutil.Process]:
    process = await start_agent(w, platformProviders=providers)
    try:
        await eventually(w.has_repositories)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def _measure_shift(
    w: World, cloud: CloudRun, kind: str, stages: Sequence[Any], percents: Sequence[int]
) -> None:
    times: dict[str, list[float]] = {f"{percent} %": [] for percent in percents}
    done: list[float] = []
    for number in range(MEASURED):
        name = f"{kind.replace(' ', '-')}-{number}"
        await w.push("Begin", _files(name, "v0", stages))
        app = await w.register(name, kind=CLOUDRUN, provider="cloudrun")
        await w.wait_for_deployment(app)
        for run_number in range(1, RUNS + 1):
            traffic = Traffic(asyncio.get_running_loop(), cloud, name)
            cloud.on_change = traffic
            commit = await w.push(f"Run {run_number}", _files(name, f"v{run_number}", stages))
            pushed_at = time.monotonic()
            for percent in percents:
                shifted_at = await traffic.wait_for(f"v{run_number}", percent)
                times[f"{percent} %"].append(shifted_at - pushed_at)
            await w.wait_for_deployment(app, commit)
            done.append(time.monotonic() - pushed_at)
            cloud.on_change = lambda: None
    for number, (step, values) in enumerate(times.items()):
        target = SHIFT_TARGET if number == 0 else None
        report(f"Cloud Run, {kind}: push → {step} of the traffic", values, "s", target=target)
    report(f"Cloud Run, {kind}: push → done", done, "s")


async def _measure_rest(w: World, cloud: CloudRun, agent: psutil.Process) -> None:
    files: dict[str, str] = {}
    for number in range(SERVICES - 2 * MEASURED):
        files |= _files(f"service-{number}", "v0", ())
    for number in range(JOBS):
        files |= _job_files(f"job-{number}")
    await w.push("All applications", files)
    names = sorted({file.split("/")[0] for file in files})
    started = time.monotonic()
    for name in names:
        await w.register(name, kind=CLOUDRUN, provider="cloudrun")

    async def all_succeeded() -> bool:
        options = ListDeploymentsRequest.Options(statuses=[DeploymentStatus.DEPLOYMENT_SUCCESS])
        response = await w.console.call("ListDeployments", options=options, page_size=200)
        return {deployment.application_name for deployment in response.deployments} >= set(names)

    await eventually(all_succeeded, 600)
    report_value(f"{len(names)} first deployments at once", time.monotonic() - started, "s")
    await asyncio.sleep(SETTLE)
    processes = process_tree(agent.pid)
    before, cpu, started = len(cloud.calls), cpu_seconds(processes), time.monotonic()
    await asyncio.sleep(REST)
    minutes = (time.monotonic() - started) / 60
    calls = Counter(call.name for call in cloud.calls[before:])
    idle = f"{SERVICES + JOBS} idle applications"
    report_value(f"{idle}: calls to Google", calls.total() / minutes, "/min", maximum=MAX_CALLS)
    for name, count in calls.most_common():
        maximum = MAX_DRY_RUNS if name.startswith("Dry") else None
        report_value(f"… {name}", count / minutes, "/min", maximum=maximum)
    report_value(f"{idle}: CPU of the agent", (cpu_seconds(processes) - cpu) / minutes, "s/min")
    report_value(f"{idle}: memory of the agent", agent.memory_info().rss / 2**20, "MB")


def _files(name: str, tag: str, stages: Sequence[Any]) -> dict[str, str]:
    spec = {"name": name, **({"pipeline": {"stages": list(stages)}} if stages else {})}
    return {
        f"{name}/app.pipecd.yaml": _application(spec),
        f"{name}/service.yaml": json.dumps(service(tag, name=name)),
    }


def _job_files(name: str) -> dict[str, str]:
    manifest = job("v0")
    manifest["metadata"]["name"] = name
    spec = {"name": name, "input": {"jobManifestFile": "job.yaml"}, "quickSync": {"run": True}}
    return {f"{name}/app.pipecd.yaml": _application(spec), f"{name}/job.yaml": json.dumps(manifest)}


def _application(spec: Mapping[str, Any]) -> str:
    return json.dumps({"apiVersion": "pipecd.dev/v1beta1", "kind": "CloudRunApp", "spec": spec})


@dataclass
class Traffic:
    """Records when users of a service get another revision. Called after each change of the emulator."""

    loop: asyncio.AbstractEventLoop
    cloud: CloudRun
    service: str
    changes: asyncio.Queue[tuple[float, Mapping[str, int]]] = field(default_factory=asyncio.Queue)
    last: Mapping[str, int] = field(default_factory=dict)

    def __call__(self) -> None:
        shares = dict(shares_of(self.cloud.objects["services"][self.service]))
        if shares != self.last:
            self.last = shares
            self.loop.call_soon_threadsafe(self.changes.put_nowait, (time.monotonic(), shares))

    async def wait_for(self, tag: str, percent: int) -> float:
        """The monotonic time at which the revision of the image's tag got `percent` of the traffic."""
        async with asyncio.timeout(60):
            while True:
                changed_at, shares = await self.changes.get()
                if any(f"-{tag}-" in name and share == percent for name, share in shares.items()):
                    return changed_at

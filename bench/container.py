"""The container of App Runner: how soon it is healthy, its memory and CPU, idle and at work.

Launcher and agent run as the processes that they are there. Memory is what the container would be counted
for; what they start (Git, Terraform) is told apart. With 0.25 vCPU they get what the smallest instance has.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from bench.figures import report, report_value
from bench.shift import STAGES, Function
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import LAMBDA, TERRAFORM
from tests.deploy.container import (
    AppRunnerEnvironment,
    Container,
    apprunner_environment,
    load_health_check,
    resident_bytes,
)
from tests.deploy.cpu_quota import cpu_seconds, limit_cpu
from tests.platforms.aws.emulator import REGION, emulator
from tests.platforms.terraform.shop import app_file, data
from tests.world import terraform

STARTS = DEPLOYMENTS = 5
#: Of idleness that is measured, after that in which the first looks are taken (seconds).
IDLE, SETTLE = 120.0, 30.0
#: Between two looks at the memory (seconds).
LOOK = 0.2
#: Of launcher and agent together, and of the whole container (MB).
MOST, MOST_IN_ALL = 200, 512
PLAIN, VERSION = "--insecure=true", "v0.1.0"
PROVIDERS = (
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
    {"name": "terraform", "type": "TERRAFORM", "config": {"binary": "embedded"}},
)
#: A commit's files, by what is different in it.
Files = Callable[[str], Mapping[str, str]]


async def run(folder: Path) -> None:
    with emulator() as aws:
        async with apprunner_environment(aws, folder, PROVIDERS) as environment:
            function = Function.made(aws, "hello", STAGES)
            infrastructure = _infrastructure(folder)
            await environment.world.push("Begin", {**function.files("v0"), **infrastructure("v0")})
            async with environment.start_container(PLAIN) as container:
                await container.wait_until_healthy(VERSION)
                apps: dict[str, tuple[str, Files]] = {
                    "Lambda canary": (
                        await environment.world.register("hello", kind=LAMBDA, provider="lambda"),
                        function.files,
                    ),
                    "Terraform apply": (
                        await environment.world.register("network", kind=TERRAFORM),
                        infrastructure,
                    ),
                }
                for app, _ in apps.values():
                    await environment.world.wait_for_deployment(app, within=120)
                await _idle(container)
            for share in (1.0, 0.25):
                await _started(environment, share)
                async with environment.start_container(PLAIN) as container:
                    with _limited(container, share):
                        await container.wait_until_healthy(VERSION)
                        for name, (app, files) in apps.items():
                            what = f"{_cpu(share)}, {name}"
                            await _deployed(what, environment, container, app, files)


def _infrastructure(folder: Path) -> Files:
    def files(tag: str) -> Mapping[str, str]:
        body = terraform(folder / "network.tfstate", "".join(data(f"n{at}", tag) for at in range(10)))
        file = app_file(["TERRAFORM_PLAN", "TERRAFORM_APPLY"]).replace("name: shop", "name: network")
        return {"network/main.tf": body, "network/app.pipecd.yaml": file}

    return files


def _cpu(share: float) -> str:
    return "unlimited CPU" if share == 1.0 else f"{share:g} vCPU"


def _limited(container: Container, share: float) -> AbstractContextManager[Any]:
    return nullcontext() if share == 1.0 else limit_cpu(container.process.pid, share=share)


async def _idle(container: Container) -> None:
    await asyncio.sleep(SETTLE)
    cpu, begun = cpu_seconds(container.processes()), time.monotonic()
    await asyncio.sleep(IDLE)
    used = (cpu_seconds(container.processes()) - cpu) / (time.monotonic() - begun) * 60
    for one, process in zip(("launcher", "agent"), container.launcher_and_agent(), strict=True):
        report_value(f"container, idle: memory of the {one}", resident_bytes([process]) / 2**20, "MB")
    memory = container.resident_bytes() / 2**20
    report_value("container, idle: memory of launcher and agent", memory, "MB", most=MOST)
    report_value("container, idle: CPU of launcher and agent", used, "s/min")


async def _started(environment: AppRunnerEnvironment, share: float) -> None:
    times = []
    for _ in range(STARTS):
        begun = time.monotonic()
        async with environment.start_container(PLAIN) as container:
            with _limited(container, share):
                await container.wait_until_healthy(VERSION)
                times.append(time.monotonic() - begun)
    patience = load_health_check().startup_timeout
    report(f"container, {_cpu(share)}: start → healthy", times, "s", target=patience)


async def _deployed(
    what: str, environment: AppRunnerEnvironment, container: Container, app: str, files: Files
) -> None:
    times: list[float] = []
    async with _memory(container) as seen:
        cpu = cpu_seconds(container.processes())
        for number in range(DEPLOYMENTS):
            begun = time.monotonic()
            tag = f"v{time.time_ns()}"
            commit = await environment.world.push(f"Run {number}", files(tag))
            ended = await environment.world.wait_for_deployment(app, commit, within=300)
            assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason
            times.append(time.monotonic() - begun)
        cpu = cpu_seconds(container.processes()) - cpu
    report(f"{what}: push → done", times, "s")
    report_value(f"{what}: CPU of each", cpu / DEPLOYMENTS, "s")
    own, whole = (max(one) / 2**20 for one in zip(*seen, strict=True))
    report_value(f"{what}: launcher and agent", own, "MB", most=MOST)
    report_value("… with what they start", whole, "MB", most=MOST_IN_ALL)


@asynccontextmanager
async def _memory(container: Container) -> AsyncIterator[Sequence[tuple[int, int]]]:
    """At each look until the block ends (bytes): of launcher and agent, and with all they started."""

    def now() -> tuple[int, int]:
        return resident_bytes(container.launcher_and_agent()), container.resident_bytes()

    seen = [await asyncio.to_thread(now)]

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK)
            seen.append(await asyncio.to_thread(now))

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look())
        yield seen
        looking.cancel()

"""App Runner's container: startup time, and memory and CPU while idle and during deployments.

Launcher and agent run as separate processes, as in the container. Memory is measured as it counts for the
container; child processes (Git, Terraform) are reported separately. 0.25 vCPU is the smallest instance.
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
#: How long the idle container is measured, after a delay for the initial checks, in seconds.
IDLE_DURATION, SETTLE_DELAY = 120.0, 30.0
#: Between two measurements of memory, in seconds.
SAMPLE_INTERVAL = 0.2
#: Memory targets of launcher and agent together, and of the whole container, in MB.
MAX_MEMORY, MAX_CONTAINER_MEMORY = 200, 512
INSECURE, VERSION = "--insecure=true", "v0.1.0"
PROVIDERS = (
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
    {"name": "terraform", "type": "TERRAFORM", "config": {"binary": "embedded"}},
)
#: Creates the files of a commit; they differ by the tag.
Files = Callable[[str], Mapping[str, str]]


async def run(folder: Path) -> None:
    with emulator() as aws:
        async with apprunner_environment(aws, folder, PROVIDERS) as environment:
            function = Function.create(aws, "hello", STAGES)
            infrastructure = _infrastructure(folder)
            await environment.world.push("Begin", {**function.files("v0"), **infrastructure("v0")})
            async with environment.start_container(INSECURE) as container:
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
                await _measure_idle(container)
            for share in (1.0, 0.25):
                await _measure_startup(environment, share)
                async with environment.start_container(INSECURE) as container:
                    with _cpu_limit(container, share):
                        await container.wait_until_healthy(VERSION)
                        for name, (app, files) in apps.items():
                            what = f"{_describe_cpu(share)}, {name}"
                            await _measure_deployments(what, environment, container, app, files)


def _infrastructure(folder: Path) -> Files:
    def files(tag: str) -> Mapping[str, str]:
        body = terraform(folder / "network.tfstate", "".join(data(f"n{number}", tag) for number in range(10)))
        file = app_file(["TERRAFORM_PLAN", "TERRAFORM_APPLY"]).replace("name: shop", "name: network")
        return {"network/main.tf": body, "network/app.pipecd.yaml": file}

    return files


def _describe_cpu(share: float) -> str:
    return "unlimited CPU" if share == 1.0 else f"{share:g} vCPU"


def _cpu_limit(container: Container, share: float) -> AbstractContextManager[Any]:
    return nullcontext() if share == 1.0 else limit_cpu(container.process.pid, share=share)


async def _measure_idle(container: Container) -> None:
    await asyncio.sleep(SETTLE_DELAY)
    cpu, started = cpu_seconds(container.processes()), time.monotonic()
    await asyncio.sleep(IDLE_DURATION)
    used = (cpu_seconds(container.processes()) - cpu) / (time.monotonic() - started) * 60
    for name, process in zip(("launcher", "agent"), container.launcher_and_agent(), strict=True):
        report_value(f"container, idle: memory of the {name}", resident_bytes([process]) / 2**20, "MB")
    memory = container.resident_bytes() / 2**20
    report_value("container, idle: memory of launcher and agent", memory, "MB", maximum=MAX_MEMORY)
    report_value("container, idle: CPU of launcher and agent", used, "s/min")


async def _measure_startup(environment: AppRunnerEnvironment, share: float) -> None:
    times = []
    for _ in range(STARTS):
        started = time.monotonic()
        async with environment.start_container(INSECURE) as container:
            with _cpu_limit(container, share):
                await container.wait_until_healthy(VERSION)
                times.append(time.monotonic() - started)
    target = load_health_check().startup_timeout
    report(f"container, {_describe_cpu(share)}: start → healthy", times, "s", target=target)


async def _measure_deployments(
    what: str, environment: AppRunnerEnvironment, container: Container, app: str, files: Files
) -> None:
    times: list[float] = []
    async with _memory_samples(container) as samples:
        cpu = cpu_seconds(container.processes())
        for number in range(DEPLOYMENTS):
            started = time.monotonic()
            tag = f"v{time.time_ns()}"
            commit = await environment.world.push(f"Run {number}", files(tag))
            deployment = await environment.world.wait_for_deployment(app, commit, within=300)
            assert deployment.status == DeploymentStatus.DEPLOYMENT_SUCCESS, deployment.status_reason
            times.append(time.monotonic() - started)
        cpu = cpu_seconds(container.processes()) - cpu
    report(f"{what}: push → done", times, "s")
    report_value(f"{what}: CPU per deployment", cpu / DEPLOYMENTS, "s")
    programs, total = (max(series) / 2**20 for series in zip(*samples, strict=True))
    report_value(f"{what}: launcher and agent", programs, "MB", maximum=MAX_MEMORY)
    report_value("… including child processes", total, "MB", maximum=MAX_CONTAINER_MEMORY)


@asynccontextmanager
async def _memory_samples(container: Container) -> AsyncIterator[Sequence[tuple[int, int]]]:
    """Memory samples while the block runs, in bytes: of launcher and agent, and including child processes."""

    def measure() -> tuple[int, int]:
        return resident_bytes(container.launcher_and_agent()), container.resident_bytes()

    samples = [await asyncio.to_thread(measure)]

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL)
            samples.append(await asyncio.to_thread(measure))

    async with asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(sample())
        yield samples
        sampling.cancel()

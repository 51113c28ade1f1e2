"""Authenticated RPCs per second. The server runs in one process, the callers in another."""

import asyncio
import time
from pathlib import Path

import yaml
from grpc import aio

from bench.figures import report, report_value
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest
from pipecd.schema.agent.service_pb2_grpc import PipedServiceStub
from tests.controlplane.server_fixture import PROJECT
from tests.faults.processes import start_processes

#: How long to measure, in seconds.
DURATION = 8.0
CALLERS = 32


async def run(folder: Path) -> None:
    async with start_processes(folder) as processes:
        spec = yaml.safe_load((folder / "piped.yaml").read_text())["spec"]
        key = (folder / "piped.key").read_text()
        await _measure(spec["apiAddress"], f"PIPED-TOKEN {PROJECT},{processes.piped_id},{key}")


async def _measure(address: str, credential: str) -> None:
    times: list[float] = []
    async with aio.insecure_channel(address) as channel:
        stub = PipedServiceStub(channel)
        end = time.monotonic() + DURATION

        async def call() -> None:
            while (started := time.monotonic()) < end:
                request = GetDesiredVersionRequest()
                await stub.GetDesiredVersion(request, metadata=(("authorization", credential),))
                times.append((time.monotonic() - started) * 1000)

        await asyncio.gather(*(call() for _ in range(CALLERS)))
    report_value(
        "authenticated RPCs (GetDesiredVersion, 32 at a time)", len(times) / DURATION, "/s", minimum=1000
    )
    report("… duration of each", times, "ms")

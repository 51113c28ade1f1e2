"""Authenticated calls a second: the server in a process of its own, the callers in another."""

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

SECONDS, CALLERS = 8.0, 32


async def run(folder: Path) -> None:
    async with start_processes(folder) as m:
        spec = yaml.safe_load((folder / "piped.yaml").read_text())["spec"]
        key = (folder / "piped.key").read_text()
        await _measure(spec["apiAddress"], f"PIPED-TOKEN {PROJECT},{m.piped_id},{key}")


async def _measure(address: str, credential: str) -> None:
    times: list[float] = []
    async with aio.insecure_channel(address) as channel:
        stub = PipedServiceStub(channel)  # type: ignore[no-untyped-call]
        until = time.monotonic() + SECONDS

        async def call() -> None:
            while (begun := time.monotonic()) < until:
                request = GetDesiredVersionRequest()
                await stub.GetDesiredVersion(request, metadata=(("authorization", credential),))
                times.append((time.monotonic() - begun) * 1000)

        await asyncio.gather(*(call() for _ in range(CALLERS)))
    report_value("authenticated RPCs (GetDesiredVersion, 32 at a time)", len(times) / SECONDS, "/s", least=1000)
    report("… of which each took", times, "ms")

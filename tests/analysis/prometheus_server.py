"""A real Prometheus server with metrics that the test sets. Debian's package; skipped where it is missing."""

import asyncio
import json
import re
import shutil
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
import yaml

from tests.eventually import eventually
from tests.ports import free_ports


@dataclass
class Prometheus:
    address: str
    #: Current values, by the metric's text such as `errors{variant="canary"}`.
    values: dict[str, float] = field(default_factory=dict)

    async def wait_for(self, query: str) -> float:
        """Wait until an instant query has a value."""

        async def value() -> list[str]:
            async with httpx.AsyncClient(verify=False) as client:
                response = await client.get(f"{self.address}/api/v1/query", params={"query": query})
            result = json.loads(response.content)["data"]["result"]
            return result[0]["value"] if result else []

        return float((await eventually(value, within=60))[1])

    async def write(self) -> None:
        """Sends the values every 100 ms. A target that is scraped has its first values after 5 seconds."""
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        async with httpx.AsyncClient(headers=headers, timeout=60, verify=False) as client:
            while True:
                content = _snappy(_write_request(self.values, int(time.time() * 1000)))
                response = await client.post(f"{self.address}/api/v1/write", content=content)
                assert response.status_code == 204, response.text
                await asyncio.sleep(0.1)


def _write_request(values: Mapping[str, float], milliseconds: int) -> bytes:
    """`prometheus.WriteRequest`: series with labels (name, value) and samples (value, time)."""
    return b"".join(_member(1, _series(metric, value, milliseconds)) for metric, value in values.items())


def _series(metric: str, value: float, milliseconds: int) -> bytes:
    name, _, rest = metric.partition("{")
    labels = {"__name__": name, **dict(re.findall(r'(\w+)="([^"]*)"', rest))}
    pairs = (_member(1, key.encode()) + _member(2, labels[key].encode()) for key in sorted(labels))
    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(milliseconds)
    return b"".join(_member(1, pair) for pair in pairs) + _member(2, sample)


def _member(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _snappy(content: bytes) -> bytes:
    """Snappy's block format without compression: literals of at most 60 bytes."""
    literals = (content[at : at + 60] for at in range(0, len(content), 60))
    return _varint(len(content)) + b"".join(bytes([len(each) - 1 << 2]) + each for each in literals)


@asynccontextmanager
async def prometheus_server(
    folder: Path, values: Mapping[str, float], configuration: Mapping[str, object] = MappingProxyType({})
) -> AsyncIterator[Prometheus]:
    """Has the series of `values`, which the test may change, and what its `configuration` adds."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("install prometheus, for example Debian's package")
    (port,) = free_ports(1)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"global": {}, **configuration}))
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    server = Prometheus(f"http://127.0.0.1:{port}", dict(values))

    async def ready() -> bool:
        async with httpx.AsyncClient(verify=False) as client:
            try:
                return (await client.get(f"{server.address}/-/ready")).status_code == 200
            except httpx.HTTPError:
                return False

    try:
        await eventually(ready, within=60)
        writing = asyncio.create_task(server.write(), name="values of Prometheus")
        try:
            yield server
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            if not writing.cancelled():
                writing.result()
    finally:
        process.kill()
        await process.wait()

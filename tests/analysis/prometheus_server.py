"""A real Prometheus server with metrics that the test sets. Debian's package; skipped where it is missing."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.eventually import eventually
from tests.ports import free_ports


@dataclass
class Prometheus:
    address: str
    #: Values that are scraped, by the metric's text such as `errors{variant="canary"}`.
    values: dict[str, float] = field(default_factory=dict)

    async def wait_for(self, query: str) -> float:
        """Wait until an instant query has a value."""

        async def value() -> list[str]:
            async with httpx.AsyncClient() as client:
                response = await client.get(f"{self.address}/api/v1/query", params={"query": query})
            result = json.loads(response.content)["data"]["result"]
            return result[0]["value"] if result else []

        return float((await eventually(value, within=60))[1])


@asynccontextmanager
async def prometheus_server(folder: Path, values: Mapping[str, float]) -> AsyncIterator[Prometheus]:
    """Scrapes `values` every 100 ms, which the test may change."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("install prometheus, for example Debian's package")
    scraped = dict(values)

    class Exporter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(f"{name} {value}\n" for name, value in scraped.items()).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    exporter = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    Thread(target=exporter.serve_forever, args=(0.05,), daemon=True).start()
    (port,) = free_ports(1)
    config = folder / "prometheus.yml"
    target = f"127.0.0.1:{exporter.server_address[1]}"
    config.write_text(
        "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\n"
        f"scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    server = Prometheus(f"http://127.0.0.1:{port}", scraped)

    async def ready() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{server.address}/-/ready")).status_code == 200
            except httpx.HTTPError:
                return False

    try:
        await eventually(ready, within=60)
        yield server
    finally:
        process.kill()
        await process.wait()
        exporter.shutdown()
        exporter.server_close()

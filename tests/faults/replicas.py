"""Servers of the control plane as processes, on one PostgreSQL database, behind a real proxy with TLS.

async with start_replicas(tmp_path, url, NGINX) as replicas:
    replicas.kill(0)                 # SIGKILL
    await replicas.start(0)
"""

import asyncio
import importlib.resources
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import sqlalchemy as sa
import yaml
from grpc import aio

from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange
from tests.controlplane.server_fixture import Console
from tests.eventually import eventually
from tests.faults.processes import RetryingConsole, server_arguments, write_configuration
from tests.ports import free_ports
from tests.programs import Program, start_program

EXAMPLES = Path(__file__).parents[2] / "deploy/proxy"
#: Of the certificate.
HOST = "pipecd.example.com"


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy with one of our example configurations."""

    name: str
    #: Our example with other addresses and files, from: ports of gRPC and HTTP of each server, port, folder.
    configuration: Callable[[Sequence[tuple[int, int]], int, Path], str]
    command: Callable[[Path], Sequence[str]]
    #: Why the proxy cannot be tested here; empty if it can.
    missing: Callable[[], str]


def _nginx_configuration(servers: Sequence[tuple[int, int]], port: int, folder: Path) -> str:
    text = (EXAMPLES / "nginx.conf").read_text()
    for number, (api, http) in enumerate(servers, 1):
        text = text.replace(f"replica-{number}.internal:9080", f"127.0.0.1:{api}")
        text = text.replace(f"replica-{number}.internal:9082", f"127.0.0.1:{http}")
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}").replace("/etc/nginx/tls/", f"{folder}/")
    temporary = [
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    ]
    text = text.replace("http {", "http {\n  access_log off;\n  " + "\n  ".join(temporary), 1)
    assert ".internal" not in text
    return f"daemon off;\npid {folder}/nginx.pid;\nworker_processes 1;\n{text}"


def _envoy_configuration(servers: Sequence[tuple[int, int]], port: int, folder: Path) -> str:
    document = yaml.safe_load((EXAMPLES / "envoy.yaml").read_text().replace("/etc/envoy/tls/", f"{folder}/"))
    resources = document["static_resources"]
    resources["listeners"][0]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    for index, cluster in enumerate(resources["clusters"]):
        for endpoint, ports in zip(
            cluster["load_assignment"]["endpoints"][0]["lb_endpoints"], servers, strict=True
        ):
            endpoint["endpoint"]["address"]["socket_address"] = {
                "address": "127.0.0.1",
                "port_value": ports[index],
            }
    return str(yaml.safe_dump(document))


def _envoy_binary() -> Path:
    return Path(str(importlib.resources.files("envoy") / "_bin" / "envoy"))


def _nginx_binary() -> str | None:
    """Debian installs it where only root's PATH leads."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _no_nginx() -> str:
    return "" if _nginx_binary() else "nginx is not installed (Debian: apt install nginx-light)"


def _no_envoy() -> str:
    try:
        return "" if _envoy_binary().exists() else "Envoy is not installed"
    except ModuleNotFoundError:
        return "there is no package of Envoy for this machine"


NGINX = Proxy(
    name="nginx",
    configuration=_nginx_configuration,
    command=lambda file: [
        str(_nginx_binary()),
        "-p",
        str(file.parent),
        "-e",
        str(file.parent / "nginx.log"),
        "-c",
        str(file),
    ],
    missing=_no_nginx,
)
ENVOY = Proxy(
    name="envoy",
    configuration=_envoy_configuration,
    command=lambda file: [str(_envoy_binary()), "-c", str(file), "--log-level", "warn", "--concurrency", "1"],
    missing=_no_envoy,
)


@dataclass
class Replicas:
    folder: Path
    #: Ports of gRPC and HTTP of each server.
    servers: Sequence[tuple[int, int]]
    #: Port of the proxy.
    port: int
    certificate: Path
    console: Console
    running: dict[int, Program] = field(default_factory=dict)

    async def start(self, number: int) -> None:
        """Returns when the server answers."""
        api, http = self.servers[number]
        log = self.folder / f"server-{number}.log"
        self.running[number] = start_program(
            ["pipecd", *server_arguments(self.folder, api, http)], output=log
        )

        async def answers() -> bool:
            async with httpx.AsyncClient(verify=False) as client:
                try:
                    return (await client.get(f"http://127.0.0.1:{http}/")).status_code < 500
                except httpx.TransportError:
                    return False

        await eventually(answers)

    def kill(self, number: int) -> None:
        """Kill the server with SIGKILL."""
        self.running.pop(number).kill()

    def channel(self) -> aio.Channel:
        """A channel of gRPC through the proxy."""
        credentials = grpc.ssl_channel_credentials(self.certificate.read_bytes())
        options = [
            ("grpc.ssl_target_name_override", HOST),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        return aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options)

    def direct_channel(self, number: int) -> aio.Channel:
        return aio.insecure_channel(f"127.0.0.1:{self.servers[number][0]}")


@asynccontextmanager
async def start_replicas(folder: Path, database_url: str, proxy: Proxy) -> AsyncIterator[Replicas]:
    ports = free_ports(5)
    servers, port = [(ports[0], ports[1]), (ports[2], ports[3])], ports[4]
    certificate = _create_certificate(folder)
    url = sa.make_url(database_url)
    datastore = {
        "type": "POSTGRESQL",
        "config": {
            "url": f"postgresql://{url.username}@",
            "database": f"{url.database}?host={url.query['host']}",
        },
    }
    write_configuration(folder, f"https://{HOST}", datastore)
    file = folder / f"{proxy.name}.yaml"
    file.write_text(proxy.configuration(servers, port, folder))
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    async with AsyncExitStack() as stack:
        http = httpx.AsyncClient(timeout=60, verify=context)
        console = RetryingConsole(f"https://127.0.0.1:{port}", await stack.enter_async_context(http))
        replicas = Replicas(folder, servers, port, certificate, console)
        stack.callback(_kill_all, replicas.running)
        for number in range(len(servers)):
            await replicas.start(number)
        log = stack.enter_context((folder / "proxy.log").open("wb"))
        process = await asyncio.create_subprocess_exec(
            *proxy.command(file), stdout=log, stderr=log, cwd=folder
        )
        stack.push_async_callback(process.wait)
        stack.callback(process.terminate)

        async def signed_in() -> bool:
            if process.returncode is not None:
                raise RuntimeError((folder / "proxy.log").read_text())
            try:
                await console.sign_in()
            except (httpx.TransportError, AssertionError):
                return False
            return True

        await eventually(signed_in)
        yield replicas


def _kill_all(running: dict[int, Program]) -> None:
    for program in running.values():
        program.kill()


def _create_certificate(folder: Path) -> Path:
    """A certificate with its key in `folder`, as `tls.crt` and `tls.key`."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", f"/CN={HOST}"]
    command += ["-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"]
    subprocess.run(command, check=True, cwd=folder, capture_output=True, timeout=60)
    # nginx changes its user if it is started by root.
    (folder / "tls.key").chmod(0o644)
    return folder / "tls.crt"


class Stream:
    """The stream of an agent through the proxy, opened again whenever it ends."""

    def __init__(self, watch: Callable[[], Any]) -> None:
        self._watch = watch
        #: Number of times that the lease was granted.
        self.granted = 0
        #: When it was granted last (monotonic seconds).
        self.granted_at = 0.0
        self.changed = asyncio.Event()
        #: Ids of the applications that were announced.
        self.announced: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async for change in self._watch():
                    if change.kind == AgentChange.LEASE_GRANTED:
                        self.granted += 1
                        self.granted_at = time.monotonic()
                        self.changed.set()
                    elif change.kind == AgentChange.APPLICATIONS:
                        self.announced.put_nowait(change.id)
            except aio.AioRpcError:
                pass
            await asyncio.sleep(0.05)

    async def wait_until_granted(self, count: int) -> None:
        while self.granted < count:
            self.changed.clear()
            await self.changed.wait()

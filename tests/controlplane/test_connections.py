"""Connections that send nothing, or slowly, are closed, and never keep others out."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from grpc import aio
from starlette.responses import PlainTextResponse

from pipecd.controlplane.http import connections
from pipecd.controlplane.http.server import open_port, serving
from pipecd.controlplane.settings import ConnectionSettings, Settings
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.eventually import eventually

QUICK = ConnectionSettings(head_timeout=0.3, body_timeout=0.3, read_timeout=0.3, grpc_handshake_timeout=1.0)
CROWDED = ConnectionSettings(max_connections=20, max_per_address=1000)
FEW = ConnectionSettings(max_connections=1000, max_per_address=5)


@asynccontextmanager
async def running(folder: Path, settings: ConnectionSettings, **spec: object) -> AsyncIterator[ControlPlane]:
    async with control_plane(folder, settings=Settings(connections=settings), **spec) as plane:
        yield plane


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(60):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        pass
    return True


def count(reason: str) -> float:
    return connections.CLOSED.labels(reason)._value.get()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "no request"),
        (b"GET / HTTP/1.1\r\nx-a: ", "slow headers"),
        (b"GET /quickstart.json HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nx-a: ", "slow headers"),
        (b"POST /auth/login/static HTTP/1.1\r\ncontent-length: 100000\r\n\r\nproject=", "slow body"),
    ],
)
async def test_a_slow_client_is_disconnected(tmp_path: Path, sent: bytes, reason: str) -> None:
    async with running(tmp_path, QUICK) as plane:
        before = count(reason)
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.server.ports.http)
        writer.write(sent)
        assert await is_closed(reader)
        assert count(reason) == before + 1
        writer.close()


async def test_headers_have_a_limit_of_size(tmp_path: Path) -> None:
    async with running(tmp_path, ConnectionSettings(max_head_size=10_000)) as plane:
        before = count("the headers are too large")
        _, writer = await asyncio.open_connection("127.0.0.1", plane.server.ports.http)
        writer.write(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(60):
                while True:
                    writer.write(b"x-a: " + b"a" * 1000 + b"\r\n")
                    await writer.drain()
        assert count("the headers are too large") == before + 1
        writer.close()


async def test_a_client_that_does_not_read_is_disconnected() -> None:
    sock = open_port("127.0.0.1", 0, "a test")
    large = PlainTextResponse("x" * 50_000_000)
    async with serving(large, sock, connections.Connections(QUICK, lambda address: False)):
        before = count("the response is not read")
        reader, writer = await asyncio.open_connection(*sock.getsockname(), limit=1)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")

        async def counted() -> bool:
            return count("the response is not read") > before

        assert await eventually(counted)
        assert await is_closed(reader)
        writer.close()
    sock.close()


async def test_silent_connections_give_way_to_others(tmp_path: Path) -> None:
    """Also a silent connection that had a request before."""
    async with running(tmp_path, CROWDED) as plane:
        silent = [await asyncio.open_connection("127.0.0.1", plane.server.ports.http) for _ in range(60)]
        for _ in range(30):
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{plane.url}/quickstart.json")).status_code == 200
        assert await is_closed(silent[0][0])
        for _, writer in silent:
            writer.close()


async def test_one_address_has_a_limit_of_connections_unless_it_is_a_proxy(tmp_path: Path) -> None:
    for proxies, refused in ((["10.0.0.0/8"], True), (["127.0.0.0/8"], False)):
        folder = tmp_path / str(refused)
        folder.mkdir()
        async with running(folder, FEW, trustedProxies=proxies) as plane:
            silent = [await asyncio.open_connection("127.0.0.1", plane.server.ports.http) for _ in range(10)]
            if refused:
                assert await is_closed(silent[-1][0])
            else:
                async with httpx.AsyncClient() as client:
                    assert (await client.get(f"{plane.url}/quickstart.json")).status_code == 200
            for _, writer in silent:
                writer.close()


async def test_silent_connections_to_grpc_are_closed_while_others_are_served(tmp_path: Path) -> None:
    async with running(tmp_path, QUICK) as plane:
        silent = [await asyncio.open_connection("127.0.0.1", plane.server.ports.grpc[0]) for _ in range(200)]
        async with aio.insecure_channel(plane.address) as channel:
            call = channel.unary_unary("/grpc.service.webservice.WebService/GetMe")
            with pytest.raises(aio.AioRpcError, match="UNAUTHENTICATED"):
                await call(b"", timeout=30)  # type: ignore[arg-type]
        async with asyncio.timeout(60):
            assert all(await asyncio.gather(*(is_closed(reader) for reader, _ in silent)))
        for _, writer in silent:
            writer.close()


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        raised = connections.raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (raised, hard)
        assert raised == min(hard if hard > 0 else connections.WANTED_FILES, connections.WANTED_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert connections.max_connections(4000) == 64
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""Connections that send nothing, or slowly, are closed, and never keep others out."""

import asyncio
import errno
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc import aio
from starlette.responses import PlainTextResponse

from pipecd.clock import SYSTEM_CLOCK
from pipecd.controlplane.faults import INTERNAL_ERRORS
from pipecd.controlplane.http import connections
from pipecd.controlplane.http.server import open_port, serving
from pipecd.controlplane.rpc import grpc_connections
from pipecd.controlplane.settings import CallSettings, ConnectionSettings, Settings
from tests.controlplane.server_fixture import ControlPlane, control_plane
from tests.eventually import eventually
from tests.raw_grpc import unary

QUICK = ConnectionSettings(head_timeout=0.3, body_timeout=0.3, read_timeout=0.3, grpc_handshake_timeout=1.0)
CROWDED = ConnectionSettings(max_connections=20, max_per_address=1000)
FEW = ConnectionSettings(max_connections=1000, max_per_address=5)
OK = PlainTextResponse("OK")

#: A call whose request the test sends itself.
SentInParts = aio.StreamUnaryMultiCallable[bytes, bytes]


@asynccontextmanager
async def running(folder: Path, settings: ConnectionSettings, **spec: Any) -> AsyncIterator[ControlPlane]:
    async with control_plane(folder, settings=Settings(connections=settings), **spec) as plane:
        yield plane


HEADERS, RESET, SETTINGS, CONTINUATION, END_HEADERS = 1, 3, 4, 9, 4


def frame(kind: int, data: bytes = b"", *, stream: int = 1, flags: int = 0) -> bytes:
    """A frame of HTTP/2."""
    return len(data).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + data


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(60):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        pass
    return True


def count(reason: str) -> float:
    return float(connections.CLOSED.labels(reason)._value.get())


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
        ports = [plane.server.ports.http]
        # The admin port reads no bodies.
        ports += [plane.server.ports.admin] if reason != "slow body" else []
        for port in ports:
            before = count(reason)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert await is_closed(reader)
            assert count(reason) == before + 1
            writer.close()


async def test_headers_have_a_limit_of_size(tmp_path: Path) -> None:
    async with running(tmp_path, ConnectionSettings(max_head_size=10_000)) as plane:
        for port in (plane.server.ports.http, plane.server.ports.admin):
            before = count("the headers are too large")
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n")
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(60):
                    while True:
                        writer.write(b"x-a: " + b"a" * 1000 + b"\r\n")
                        await writer.drain()
            assert count("the headers are too large") == before + 1
            writer.close()


async def test_a_connection_that_its_client_half_closed_is_closed(tmp_path: Path) -> None:
    """At once: the limits of time are longer than the test waits."""
    head, body = b"GET / HTTP/1.1\r\nx-a: ", b"POST /auth/login/static HTTP/1.1\r\ncontent-length: 9\r\n\r\np"
    patient = ConnectionSettings(head_timeout=600.0, body_timeout=600.0, grpc_handshake_timeout=600.0)
    async with running(tmp_path, patient) as plane:
        for port in (plane.server.ports.http, plane.server.ports.admin):
            for sent in (b"", head, body):
                assert await is_closed_after(port, sent, half_close=True)
        for sent in (b"", PREFACE, PREFACE + frame(HEADERS, CALL, flags=END_HEADERS)):
            assert await is_closed_after(plane.server.ports.grpc[0], sent, half_close=True)


#: The beginning of a connection of HTTP/2, and a call of one.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, stream=0)
CALL = b"\x83\x86\x04\x02/x"
#: A header of 3,900 bytes that is remembered, and one byte for each further use of it.
REMEMBERED, USES = b"\x40\x03x-a\x7f\xbd\x1d" + b"a" * 3900, b"\xbe" * 16_000
#: None of these ends.
HOSTILE = {
    "no call": b"",
    "headers without an end": frame(HEADERS, CALL),
    "many headers": frame(HEADERS, CALL) + frame(CONTINUATION, b"\x40\x01a\x01b") * 2000,
    "3 GB of headers in 800 kB": frame(HEADERS, CALL + REMEMBERED) + frame(CONTINUATION, USES) * 50,
    "no request": frame(HEADERS, CALL, flags=END_HEADERS),
    "many calls that are reset": b"".join(
        frame(HEADERS, CALL, stream=number, flags=END_HEADERS) + frame(RESET, b"\0\0\0\x08", stream=number)
        for number in range(1, 10_001, 2)
    ),
}


async def test_a_hostile_connection_of_grpc_is_closed(tmp_path: Path) -> None:
    settings = replace(QUICK, grpc_handshake_timeout=60.0, grpc_idle_timeout=0.5)
    async with running(tmp_path, settings) as plane:
        memory = psutil.Process().memory_info().rss
        port = plane.server.ports.grpc[0]
        closed = [is_closed_after(port, PREFACE + sent) for sent in HOSTILE.values()]
        assert all(await asyncio.gather(*closed)), list(HOSTILE)
        assert psutil.Process().memory_info().rss < memory + 200_000_000


async def test_metadata_of_grpc_has_a_limit_of_size(tmp_path: Path) -> None:
    async with running(tmp_path, QUICK) as plane, aio.insecure_channel(plane.address) as channel:
        call = unary(channel, "/grpc.service.webservice.WebService/GetMe")
        with pytest.raises(aio.AioRpcError, match="metadata size exceeds"):
            await call(b"", metadata=[("x-a", "a" * 1_000_000)], timeout=60)
        with pytest.raises(aio.AioRpcError, match="UNAUTHENTICATED"):
            await call(b"", timeout=60)


async def is_closed_after(port: int, sent: bytes, *, half_close: bool = False) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        if half_close:
            writer.write_eof()
        return await is_closed(reader)
    finally:
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


async def test_no_connection_outlives_the_server() -> None:
    """Not even one that is accepted while it stops, whose requests would be answered from then on."""
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    for _ in range(3):
        sock = open_port("127.0.0.1", 0, "a test")
        async with serving(OK, sock, connections.Connections(ConnectionSettings(), lambda address: True)):
            opened = asyncio.create_task(asyncio.to_thread(connect_until_refused, sock.getsockname()))
            await asyncio.sleep(0.05)
        assert all([await is_closed_after_request(client) for client in await opened])
    assert not failures


def connect_until_refused(address: tuple[str, int]) -> list[socket.socket]:
    clients = []
    with suppress(OSError):
        while True:
            clients.append(socket.create_connection(address, timeout=60))
            time.sleep(0.0005)
    return clients


async def is_closed_after_request(client: socket.socket) -> bool:
    """Whether the server does not answer, but has closed the connection."""
    with client:
        try:
            client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            return not await asyncio.to_thread(client.recv, 1)
        except ConnectionError:
            return True


async def test_silent_connections_give_way_to_others(tmp_path: Path) -> None:
    """Also a silent connection that had a request before."""
    async with running(tmp_path, CROWDED) as plane:
        silent = [await asyncio.open_connection("127.0.0.1", plane.server.ports.http) for _ in range(60)]
        for _ in range(30):
            async with httpx.AsyncClient(verify=False) as client:
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
                async with httpx.AsyncClient(verify=False) as client:
                    assert (await client.get(f"{plane.url}/quickstart.json")).status_code == 200
            for _, writer in silent:
                writer.close()


async def test_silent_connections_to_grpc_are_closed_while_others_are_served(tmp_path: Path) -> None:
    async with running(tmp_path, QUICK) as plane:
        silent = [await asyncio.open_connection("127.0.0.1", plane.server.ports.grpc[0]) for _ in range(200)]
        async with aio.insecure_channel(plane.address) as channel:
            call = unary(channel, "/grpc.service.webservice.WebService/GetMe")
            with pytest.raises(aio.AioRpcError, match="UNAUTHENTICATED"):
                await call(b"", timeout=30)
        async with asyncio.timeout(60):
            assert all(await asyncio.gather(*(is_closed(reader) for reader, _ in silent)))
        for _, writer in silent:
            writer.close()


async def test_one_address_has_a_limit_of_connections_of_grpc(tmp_path: Path) -> None:
    """What one client does, here with another address of this machine, does not end the calls of others."""
    settings = replace(FEW, grpc_handshake_timeout=3600.0, grpc_check_interval=0.02)
    before = grpc_connections.CLOSED.labels(connections.CROWDED)._value.get()
    async with running(tmp_path, settings) as plane, aio.insecure_channel(plane.address) as channel:
        call = unary(channel, "/grpc.service.webservice.WebService/GetMe")
        port, excess = plane.server.ports.grpc[0], 50 - FEW.max_per_address
        for _ in range(2):
            many = [await connect(port, "127.0.0.2") for _ in range(50)]
            closing = [asyncio.create_task(is_closed(reader)) for reader, _ in many]
            for number, closed in enumerate(asyncio.as_completed(closing), 1):
                await closed
                if number == excess:
                    break
            with pytest.raises(aio.AioRpcError, match="UNAUTHENTICATED"):
                await call(b"", timeout=60)
            for _, writer in many:
                writer.close()
            await asyncio.wait(closing)

        async def counted() -> bool:
            closed = grpc_connections.CLOSED.labels(connections.CROWDED)._value.get()
            return bool(closed - before >= 2 * excess)

        assert await eventually(counted)


async def test_the_oldest_connections_of_grpc_stay_and_those_of_proxies(tmp_path: Path) -> None:
    settings = replace(FEW, grpc_handshake_timeout=3600.0, grpc_check_interval=3600.0)
    async with running(tmp_path, settings) as plane:
        port = plane.server.ports.grpc[0]
        limit = grpc_connections.ConnectionLimit([port], FEW, lambda _: False, SYSTEM_CLOCK)
        unlimited = grpc_connections.ConnectionLimit([port], FEW, lambda _: True, SYSTEM_CLOCK)
        old = [await connect(port) for _ in range(FEW.max_per_address)]
        while len(limit._known) < len(old):
            assert not await asyncio.to_thread(limit._check)
        new = [await connect(port) for _ in range(20)]
        closed = set[int]()
        # The server accepts them one after the other.
        while len(closed) < 20:
            assert not await asyncio.to_thread(unlimited._check)
            closed |= {peer.port for peer in await asyncio.to_thread(limit._check)}
        assert closed == {local_port(writer) for _, writer in new}
        for _, writer in (*old, *new):
            writer.close()


async def connect(port: int, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    except OSError:
        if address == "127.0.0.1" or sys.platform == "linux":
            raise
        pytest.skip(f"this machine has no address {address}")


def local_port(writer: asyncio.StreamWriter) -> int:
    return int(writer.get_extra_info("sockname")[1])


async def test_a_failed_count_of_connections_ends_nothing(tmp_path: Path) -> None:
    settings = replace(FEW, grpc_handshake_timeout=3600.0, grpc_check_interval=0.02)
    failures = INTERNAL_ERRORS.labels("limit-connections")._value

    def fail(address: str) -> bool:
        raise OSError(errno.EMFILE, address)

    async def has_failed_again() -> bool:
        return bool(failures.get() >= before + 2)

    async with running(tmp_path, replace(settings, grpc_check_interval=3600.0)) as plane:
        port, before = plane.server.ports.grpc[0], failures.get()
        many = [await connect(port) for _ in range(20)]
        limit = grpc_connections.ConnectionLimit([port], settings, fail, SYSTEM_CLOCK)
        counting = asyncio.create_task(limit.run())
        assert await eventually(has_failed_again)
        assert not counting.done()
        counting.cancel()
        await asyncio.wait([counting])
        for _, writer in many:
            writer.close()


def test_addresses_of_one_network_count_together() -> None:
    addresses = ["192.0.2.1", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1", "2001:db8::3", "192.0.2.9"]
    peers = [grpc_connections.Peer(address, port) for port, address in enumerate(addresses)]
    excess = grpc_connections.find_excess(peers, 1, lambda address: False)
    assert [peer.port for peer in excess] == [2, 3, 4]
    assert not grpc_connections.find_excess(peers, 1, lambda address: True)


async def test_the_server_waits_for_requests_of_authenticated_callers_only(tmp_path: Path) -> None:
    settings = ConnectionSettings(body_timeout=0.2)
    async with running(tmp_path, settings) as plane, aio.insecure_channel(plane.address) as channel:
        piped_id, key = await plane.register_piped()
        metadata = (("authorization", f"PIPED-TOKEN shop,{piped_id},{key}"),)
        for method in ("PipedService/ReportStat", "WebService/GetMe"):
            # A client that never sends its request.
            call: SentInParts = channel.stream_unary(f"/grpc.service.{method.split('/')[0].lower()}.{method}")
            with pytest.raises(aio.AioRpcError, match="UNAUTHENTICATED"):
                await call(timeout=60)
        call = channel.stream_unary("/grpc.service.pipedservice.PipedService/ReportStat")
        with pytest.raises(aio.AioRpcError, match="the request did not arrive"):
            await call(metadata=metadata, timeout=60)


async def test_requests_that_do_not_arrive_are_limited_for_each_caller(tmp_path: Path) -> None:
    settings = Settings(calls=CallSettings(max_waiting=3))
    async with control_plane(tmp_path, settings=settings) as plane:
        piped_id, key = await plane.register_piped()
        metadata = (("authorization", f"PIPED-TOKEN shop,{piped_id},{key}"),)
        async with aio.insecure_channel(plane.address) as channel:
            method: SentInParts = channel.stream_unary("/grpc.service.pipedservice.PipedService/ReportStat")
            # Here, where the time for a request does not end before it has arrived.
            with pytest.raises(aio.AioRpcError, match="the call has no request"):
                await method(iter(()), metadata=metadata, timeout=60)
            calls = [method(metadata=metadata) for _ in range(4)]
            codes = [asyncio.create_task(_code(call)) for call in calls]
            refused, _ = await asyncio.wait(codes, return_when=asyncio.FIRST_COMPLETED)
            assert [await code for code in refused] == ["UNAVAILABLE"]
            for call in calls:
                call.cancel()
            await asyncio.wait(codes)


async def _code(call: Any) -> str:
    return str((await call.code()).name)


async def test_calls_that_come_at_once_wait_for_their_turn(tmp_path: Path) -> None:
    """As those of all agents after a restart. gRPC cancels some if 1,000 wait, unless it is configured."""
    async with running(tmp_path, ConnectionSettings()) as plane, AsyncExitStack() as stack:
        own = (("grpc.use_local_subchannel_pool", 1),)
        channels = [
            await stack.enter_async_context(aio.insecure_channel(plane.address, own)) for _ in range(4)
        ]
        calls = [
            unary(channel, "/grpc.service.webservice.WebService/GetMe")(b"")
            for channel in channels
            for _ in range(800)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 they arrive while the event loop is blocked
        assert {await call.code() for call in calls} == {grpc.StatusCode.UNAUTHENTICATED}


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

"""The client says what went wrong in our words, and retries only what will pass."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc import aio

from pipecd.client import PipedToken, Transport, connect
from pipecd.errors import (
    AlreadyExists,
    ConfigError,
    Conflict,
    NotFound,
    PermissionDenied,
    PipecdError,
    Refused,
    Temporary,
    Unauthenticated,
    Unsupported,
)
from pipecd.grpc_errors import to_error
from pipecd.process import capture
from pipecd.retry import Retry
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest, ReportStatRequest
from tests.piped.recorder import TOKEN, Recorder
from tests.virtual_clock import VirtualClock

CODES = [
    (grpc.StatusCode.INVALID_ARGUMENT, Refused),
    (grpc.StatusCode.NOT_FOUND, NotFound),
    (grpc.StatusCode.ALREADY_EXISTS, AlreadyExists),
    (grpc.StatusCode.FAILED_PRECONDITION, Conflict),
    (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
    (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
    (grpc.StatusCode.INTERNAL, Temporary),
    (grpc.StatusCode.UNAVAILABLE, Temporary),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, Temporary),
]
QUICK = Retry(base=0.001, cap=0.001, tries=4)


async def test_a_call_carries_the_token_and_the_instance(recorder: Recorder) -> None:
    client = recorder.client(instance="one")
    answer = await client.call(client.piped.ReportStat, ReportStatRequest(piped_stats=b"x"))
    assert answer.report_interval == 1
    assert recorder.metadata["authorization"] == "PIPED-TOKEN j,p,key"
    assert recorder.metadata["pipecd-instance"] == "one"
    await client.close()


@pytest.mark.parametrize(("code", "kind"), CODES, ids=[code.name for code, _ in CODES])
async def test_codes_become_our_errors_and_only_passing_ones_are_retried(
    recorder: Recorder, code: grpc.StatusCode, kind: type[PipecdError]
) -> None:
    recorder.refuse = code
    client = recorder.client()
    with pytest.raises(kind):
        await client.call(client.piped.ReportStat, ReportStatRequest(), policy=QUICK)
    assert recorder.calls == (4 if kind is Temporary else 1)
    await client.close()


async def test_a_call_that_the_server_does_not_know_is_unsupported(recorder: Recorder) -> None:
    client = recorder.client()
    with pytest.raises(Unsupported):
        await client.call(client.piped.GetDesiredVersion, GetDesiredVersionRequest())
    await client.close()


async def test_dialling_nobody_names_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Temporary, match=address):
            await connect(address, TOKEN, Transport(insecure=True), timeout=0.3)


async def test_a_refused_connection_fails_at_once_if_requested() -> None:
    """The virtual clock does not advance: nothing is waited for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            Temporary, match=f"nothing listens at {address}; check that the control plane runs"
        ):
            await connect(address, TOKEN, Transport(insecure=True), fail_fast=True, clock=VirtualClock())


async def test_a_server_that_answers_slowly_is_connected_to(recorder: Recorder) -> None:
    """As over a network with a high latency, or by a busy machine."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.6)
        host, port = recorder.client().address.rsplit(":", 1)
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(forward(reader, server_writer), forward(server_reader, writer))

    async with await asyncio.start_server(answer_late, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = await connect(address, TOKEN, Transport(insecure=True), fail_fast=True)
        await client.close()


@pytest.fixture
async def tls_server(tmp_path: Path) -> AsyncIterator[tuple[int, str]]:
    """A gRPC server with a certificate for `pipecd.example`: its port, and the certificate's path."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=pipecd.example"]
    assert (await capture([*command, "-addext", "subjectAltName=DNS:pipecd.example"], timeout=60)).code == 0
    server = aio.server()
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield port, str(certificate)
    await server.stop(None)


async def failure(address: str, transport: Transport) -> str:
    with pytest.raises(Temporary) as caught:
        await connect(address, TOKEN, transport, fail_fast=True)
    return str(caught.value)


async def test_the_reason_for_a_failed_connection_is_a_sentence(
    tls_server: tuple[int, str], recorder: Recorder
) -> None:
    port, certificate = tls_server
    address, plaintext = f"127.0.0.1:{port}", recorder.client().address
    assert "certificate of " + address + " is not trusted" in await failure(address, Transport())
    wrong_name = await failure(address, Transport(cert_file=certificate))
    assert f"certificate of {address} is for another host name" in wrong_name
    assert "--insecure" in await failure(address, Transport(insecure=True))
    assert f"{plaintext} does not use TLS; use --insecure" in await failure(plaintext, Transport())
    unknown = await failure("nowhere.invalid:443", Transport())
    assert "host name of nowhere.invalid:443 cannot be resolved" in unknown


async def test_a_port_of_another_protocol_is_named() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert f"{address} is not a gRPC port" in await failure(address, Transport(insecure=True))


@pytest.mark.parametrize(
    ("code", "details", "sentence"),
    [
        (grpc.StatusCode.UNAVAILABLE, "the database does not respond", "the database does not respond"),
        (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "Deadline Exceeded",
            "the control plane at a:1 did not answer in time",
        ),
        (grpc.StatusCode.INTERNAL, "internal error", "the control plane at a:1 failed: internal error"),
        (grpc.StatusCode.UNKNOWN, "", "the control plane at a:1 failed: UNKNOWN"),
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses; last error: UNKNOWN: ipv6:%5B::1%5D:1: connection attempt"
            " timed out before receiving SETTINGS frame",
            "cannot connect to the control plane: a:1 does not respond; check the address and the network",
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "recvmsg:Connection reset by peer",
            "cannot connect to the control plane: a:1 closes the connection; check that it is the gRPC port,"
            " and whether it uses TLS or plaintext (--insecure)",
        ),
    ],
)
def test_a_failed_call_is_a_sentence_without_names_of_grpc(
    code: grpc.StatusCode, details: str, sentence: str
) -> None:
    error = aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details)
    assert str(to_error(error, "a:1")) == sentence


async def test_an_unreadable_certificate_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        await connect("127.0.0.1:1", TOKEN, Transport(cert_file="/missing.pem"), timeout=0.3)


async def test_the_channel_is_back_soon_after_the_server_is(recorder: Recorder) -> None:
    client = recorder.client()
    await client.call(client.piped.ReportStat, ReportStatRequest())
    await recorder.stop()
    with pytest.raises(Temporary):
        await client.call(client.piped.ReportStat, ReportStatRequest())
    await recorder.start()
    async with asyncio.timeout(60):
        await client.call(
            client.piped.ReportStat, ReportStatRequest(), policy=Retry(base=0.1, cap=0.2, tries=1_000)
        )
    await client.close()


def test_outer_white_space_of_a_key_is_harmless() -> None:
    assert PipedToken(project_id="j", piped_id="p", key=" k \n").header() == "PIPED-TOKEN j,p,k"

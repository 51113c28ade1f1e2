"""The client says what went wrong in our words, and retries only what will pass."""

import asyncio
import socket

import grpc
import pytest

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
from pipecd.retry import Retry
from pipecd.schema.agent.pipeds_pb2 import GetDesiredVersionRequest, ReportStatRequest
from tests.piped.recorder import TOKEN, Recorder

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

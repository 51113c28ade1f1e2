"""The one client of a control plane: a gRPC channel, a credential, and our words for what goes wrong.

Used by piped and pipectl. `connect` dials and gives up with a sentence; `call` makes one unary call
and turns the answer's code into an error of `pipecd.errors`; a `policy` makes it retry what will pass.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import grpc
from grpc import aio

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
from pipecd.retry import call as retried
from pipecd.schema.agent.service_pb2_grpc import PipedServiceStub
from pipecd.schema.api.service_pb2_grpc import APIServiceStub
from pipecd.schema.pipecd.v1.agent_pb2_grpc import AgentServiceStub
from pipecd.schema.pipecd.v1.program_pb2_grpc import ProgramServiceStub

Request = TypeVar("Request")
Response = TypeVar("Response")

DIAL_TIMEOUT = 15.0
CALL_TIMEOUT = 30.0
INSTANCE = "pipecd-instance"
_MAX_MESSAGE = 10 * 1024 * 1024
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    # Go servers close a connection that is pinged more often than each five minutes.
    ("grpc.keepalive_time_ms", 305_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # After an outage the agent is back within seconds of the control plane.
    ("grpc.initial_reconnect_backoff_ms", 300),
    ("grpc.min_reconnect_backoff_ms", 300),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Calls are retried by us, under a policy that is visible.
    ("grpc.enable_retries", 0),
)
_ERRORS: dict[grpc.StatusCode, type[PipecdError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
}


@dataclass(frozen=True, kw_only=True)
class PipedToken:
    """What an agent shows: its project, its id and its key."""

    project_id: str
    piped_id: str
    key: str

    def header(self) -> str:
        return f"PIPED-TOKEN {self.project_id},{self.piped_id},{self.key.strip()}"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """What pipectl and CI show."""

    key: str

    def header(self) -> str:
        return f"API-KEY {self.key.strip()}"


@dataclass(frozen=True, kw_only=True)
class Transport:
    """Plaintext, or TLS checked against `cert_file` (PEM) or the system's authorities when it is empty."""

    insecure: bool = False
    cert_file: str = ""
    #: Bytes that an answer may have.
    largest: int = _MAX_MESSAGE


class Client:
    """An open channel. Hand the methods of its services (`piped`, `api`, `agent`, `program`) to `call`."""

    def __init__(
        self, address: str, credential: PipedToken | ApiKey, transport: Transport, *, instance: str = ""
    ) -> None:
        self.address = address
        #: `time.monotonic()` of the last call that the control plane answered well; None before the first.
        self.last_success: float | None = None
        self._channel = _channel(address, transport)
        self._metadata = [("authorization", credential.header())]
        if instance:
            self._metadata.append((INSTANCE, instance))
        self.piped = PipedServiceStub(self._channel)
        self.api = APIServiceStub(self._channel)
        self.agent = AgentServiceStub(self._channel)
        self.program = ProgramServiceStub(self._channel)

    async def ready(self, timeout: float = DIAL_TIMEOUT) -> None:
        """Return once connected. Raises Temporary, with the address, after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._channel.channel_ready()
        except TimeoutError:
            raise Temporary(
                f"the control plane at {self.address} does not answer within {timeout:g} s; check the"
                " address, the network and whether the port speaks plaintext (--insecure) or TLS"
            ) from None

    async def call(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float = CALL_TIMEOUT,
        policy: Retry | None = None,
    ) -> Response:
        """The answer to one call; with `policy`, what is Temporary is tried again under it."""

        async def once() -> Response:
            try:
                answer = await method(request, timeout=timeout, metadata=self._metadata)
            except aio.AioRpcError as error:
                _rise(error)
            self.last_success = time.monotonic()
            return answer

        return await (retried(once, policy) if policy else once())

    async def stream(
        self, method: aio.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncGenerator[Response]:
        """The answers of a server's stream; close the iterator to end the stream."""
        call = method(request, metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except aio.AioRpcError as error:
            _rise(error)
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close(grace=None)


async def connect(
    address: str,
    credential: PipedToken | ApiKey,
    transport: Transport,
    *,
    instance: str = "",
    timeout: float = DIAL_TIMEOUT,
) -> Client:
    """A client whose channel is up. Raises Temporary when nobody answers in `timeout` seconds."""
    client = Client(address, credential, transport, instance=instance)
    try:
        await client.ready(timeout)
    except BaseException:
        await client.close()
        raise
    return client


def _channel(address: str, transport: Transport) -> aio.Channel:
    options = (*_OPTIONS, ("grpc.max_receive_message_length", transport.largest))
    if transport.insecure:
        return aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(root_certificates=_authorities(transport.cert_file))
    return aio.secure_channel(address, credentials, options=options)


def _authorities(cert_file: str) -> bytes | None:
    """The PEM bundle to trust; None leaves it to gRPC's own where the system has none."""
    if cert_file:
        try:
            return Path(cert_file).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"cannot read the certificate file {cert_file}: {error.strerror}",
                remedy="point --cert-file at a readable PEM file",
            ) from error
    system = ssl.get_default_verify_paths().cafile
    return Path(system).read_bytes() if system and Path(system).is_file() else None


def _rise(error: aio.AioRpcError) -> NoReturn:
    kind = _ERRORS.get(error.code())
    details = error.details() or error.code().name
    if kind is None:
        raise Temporary(f"{error.code().name}: {details}") from error
    raise kind(details) from error

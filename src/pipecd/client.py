"""gRPC client of the control plane: a channel, a credential, and the mapping of status codes to errors.

Used by piped and pipectl. `connect` opens the channel or raises Temporary; `Client.call` makes one unary
call, whose failure becomes an error of `pipecd.errors` in `grpc_errors`. With a `policy`, it retries
Temporary errors.
"""

import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc import aio

from pipecd import tracing
from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.clock import timeout as clock_timeout
from pipecd.errors import ConfigError, Temporary
from pipecd.grpc_errors import to_error
from pipecd.retry import Retry
from pipecd.retry import call as call_with_retries
from pipecd.schema.agent.service_pb2_grpc import PipedServiceStub
from pipecd.schema.api.service_pb2_grpc import APIServiceStub
from pipecd.schema.pipecd.v1.agent_pb2_grpc import AgentServiceStub
from pipecd.schema.pipecd.v1.program_pb2_grpc import ProgramServiceStub
from pipecd.trace_export.collector import EXPORT_PATH

Request = TypeVar("Request")
Response = TypeVar("Response")

#: How long to wait for the channel to connect, in seconds.
DIAL_TIMEOUT = 15.0
#: Default timeout of a call, in seconds.
CALL_TIMEOUT = 30.0
#: For a call that only asks why a channel does not connect, in seconds.
_REASON_TIMEOUT = 1.0
#: Metadata key under which an agent names its process.
INSTANCE_METADATA_KEY = "pipecd-instance"
#: Default size limit of a message, in bytes.
_MAX_MESSAGE_BYTES = 10 * 1024 * 1024
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # gRPC servers in Go close a connection that is pinged more than once in five minutes.
    ("grpc.keepalive_time_ms", 305_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # After an outage, reconnect within seconds of the control plane's restart.
    ("grpc.initial_reconnect_backoff_ms", 300),
    # The timeout of one attempt, despite its name. The other two are the delays between attempts.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Retries follow the `policy` of `Client.call`, not gRPC's.
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, kw_only=True)
class PipedToken:
    """Credential of an agent: its project, its id and its key."""

    project_id: str
    piped_id: str
    key: str

    def bearer(self) -> str:
        """The header for exporting spans."""
        return f"Bearer {self.project_id},{self.piped_id},{self.key.strip()}"

    def header(self) -> str:
        return f"PIPED-TOKEN {self.project_id},{self.piped_id},{self.key.strip()}"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """Credential of a program, such as pipectl in CI."""

    key: str

    def header(self) -> str:
        return f"API-KEY {self.key.strip()}"


@dataclass(frozen=True, kw_only=True)
class Transport:
    """Plaintext if `insecure`; otherwise TLS, verified against `cert_file` (PEM; empty: the system's CAs)."""

    insecure: bool = False
    cert_file: str = ""
    #: Size limit of a response, in bytes.
    max_response_bytes: int = _MAX_MESSAGE_BYTES


class Client:
    """A channel to the control plane.

    Pass the methods of its stubs (`piped`, `api`, `agent`, `program`) to `call` and `stream`.
    """

    def __init__(
        self,
        address: str,
        credential: PipedToken | ApiKey,
        transport: Transport,
        *,
        instance: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.address, self.clock = _with_port(address), clock
        #: Monotonic seconds of `clock` at the last successful call; None before the first.
        self.last_success: float | None = None
        self._channel = _channel(self.address, transport)
        self._credential = credential
        self._metadata = [("authorization", credential.header())]
        if instance:
            self._metadata.append((INSTANCE_METADATA_KEY, instance))
        self._export: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(EXPORT_PATH)
        self.piped = PipedServiceStub(self._channel)
        self.api = APIServiceStub(self._channel)
        self.agent = AgentServiceStub(self._channel)
        self.program = ProgramServiceStub(self._channel)

    async def wait_until_ready(
        self,
        timeout: float = DIAL_TIMEOUT,
        *,
        fail_fast: bool = False,
        on_failure: Callable[[Temporary], None] | None = None,
    ) -> None:
        """Wait until connected. Raises Temporary, with the address and the reason, after `timeout` seconds.

        With `fail_fast`, raises when all addresses of the host have failed once, without further attempts.
        `on_failure` receives the reason at that time, and the attempts continue.
        """
        try:
            async with clock_timeout(self.clock, timeout):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        if fail_fast:
                            raise await self._connection_error(timeout)
                        if on_failure:
                            on_failure(await self._connection_error(timeout))
                            on_failure = None
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise await self._connection_error(timeout) from None

    async def _connection_error(self, timeout: float) -> Temporary:
        """Why the channel does not connect. gRPC says it to a call only, which then fails at once."""
        if self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            try:
                await self._channel.unary_unary("/", request_serializer=bytes)(b"", timeout=_REASON_TIMEOUT)
            except aio.AioRpcError as error:
                if isinstance(reason := to_error(error, self.address), Temporary):
                    return reason
        return Temporary(
            f"the control plane at {self.address} did not respond within {timeout:g} s; check the"
            " address, the network and whether the port uses plaintext (--insecure) or TLS"
        )

    async def call(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float = CALL_TIMEOUT,
        policy: Retry | None = None,
    ) -> Response:
        """Make a unary call and return its response. With `policy`, Temporary errors are retried."""

        async def call_once() -> Response:
            try:
                response = await method(request, timeout=timeout, metadata=self._metadata)
            except aio.AioRpcError as error:
                raise to_error(error, self.address) from error
            self.last_success = self.clock.monotonic()
            return response

        return await (call_with_retries(call_once, policy, sleep=self.clock.sleep) if policy else call_once())

    async def stream(
        self, method: aio.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncGenerator[Response]:
        """Yield the responses of a server stream. Closing the generator ends the stream."""
        call = method(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except aio.AioRpcError as error:
            raise to_error(error, self.address) from error
        finally:
            call.cancel()

    async def export_traces(self, data: bytes) -> None:
        """Send an encoded `ExportTraceServiceRequest`, which the control plane forwards."""
        assert isinstance(self._credential, PipedToken)
        metadata = [("authorization", self._credential.bearer())]
        try:
            await self._export(data, timeout=CALL_TIMEOUT, metadata=metadata)
        except aio.AioRpcError as error:
            raise to_error(error, self.address) from error

    async def close(self) -> None:
        await self._channel.close(grace=None)


async def connect(
    address: str,
    credential: PipedToken | ApiKey,
    transport: Transport,
    *,
    instance: str = "",
    timeout: float = DIAL_TIMEOUT,
    fail_fast: bool = False,
    on_failure: Callable[[Temporary], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Client:
    """Return a connected client. Raises Temporary if the server does not respond within `timeout` seconds.

    `fail_fast` and `on_failure`: as in `Client.wait_until_ready`.
    """
    client = Client(address, credential, transport, instance=instance, clock=clock)
    try:
        await client.wait_until_ready(timeout, fail_fast=fail_fast, on_failure=on_failure)
    except BaseException:
        await client.close()
        raise
    return client


class _TraceCalls(aio.UnaryUnaryClientInterceptor):
    """A span for each call that is part of a trace; the control plane continues it."""

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: aio.ClientCallDetails, request: Any
    ) -> Any:
        method = client_call_details.method
        name = method.decode() if isinstance(method, bytes) else method
        with tracing.child(name[1:], attributes={"rpc.system": "grpc"}) as span:
            if span:
                metadata = aio.Metadata(*(client_call_details.metadata or ()))
                metadata[tracing.HEADER] = tracing.current()
                client_call_details = aio.ClientCallDetails(
                    client_call_details.method,
                    client_call_details.timeout,
                    metadata,
                    client_call_details.credentials,
                    client_call_details.wait_for_ready,
                )
            call = await continuation(client_call_details, request)
            if span:
                code = await call.code()
                span.set_attribute("rpc.grpc.status", code.name)
                if code is not grpc.StatusCode.OK:
                    span.fail(code.name)
            return call


def _with_port(address: str) -> str:
    """`address` with the port that gRPC uses if it has none, so that errors name it."""
    return address if ":" in address and not address.endswith("]") else f"{address}:443"


def _channel(address: str, transport: Transport) -> aio.Channel:
    options = (*_OPTIONS, ("grpc.max_receive_message_length", transport.max_response_bytes))
    interceptors = [_TraceCalls()] if tracing.enabled() else None
    if transport.insecure:
        return aio.insecure_channel(address, options=options, interceptors=interceptors)
    credentials = grpc.ssl_channel_credentials(root_certificates=_root_certificates(transport.cert_file))
    return aio.secure_channel(address, credentials, options=options, interceptors=interceptors)


def _root_certificates(cert_file: str) -> bytes | None:
    """Return the PEM bundle to trust, or None to use gRPC's own if the system has none."""
    if cert_file:
        try:
            certificates = Path(cert_file).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"cannot read the certificate file {cert_file}: {error.strerror}",
                remedy="point --cert-file at a readable PEM file",
            ) from error
        if b"-----BEGIN CERTIFICATE-----" not in certificates:
            raise ConfigError(
                f"the certificate file {cert_file} contains no certificate",
                remedy="point --cert-file at the PEM file of the CA's certificate",
            )
        return certificates
    system_file = ssl.get_default_verify_paths().cafile
    return Path(system_file).read_bytes() if system_file and Path(system_file).is_file() else None

"""The gRPC server: serves every service of the method table through one generic handler.

Requests are received and parsed after the credential is checked: a call whose request does not arrive costs
memory, which only callers with a credential may take, for a limited time. Started and stopped by
`controlplane.serving`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from pipecd import tracing
from pipecd.clock import timeout
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.http.connections import max_connections
from pipecd.controlplane.rpc import guard
from pipecd.controlplane.rpc.call_metrics import record_call
from pipecd.controlplane.rpc.identity import CallMetadata
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.status import to_status
from pipecd.controlplane.rpc.validation import MAX_REQUEST_SIZE, MAX_SIZE_ON_LOOP
from pipecd.controlplane.services import Services
from pipecd.controlplane.settings import ConnectionSettings
from pipecd.errors import ConfigError, Refused

#: Metadata key under which an agent names its process.
INSTANCE_METADATA_KEY = "pipecd-instance"
_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_SIZE),
    # Agents send pings because proxies and firewalls drop idle connections.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A second control plane on the same port must fail to start, not share the port.
    ("grpc.so_reuseport", 0),
)

Context = aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificate and private key, as PEM bytes."""

    certificate: bytes
    key: bytes


def create_server(services: Services, methods: Mapping[str, Method]) -> aio.Server:
    """Return a server without a port; see `listen`."""
    server = aio.server(options=(*_OPTIONS, *_connection_options(services.settings.connections)))
    handlers = {path: _handler(services, method) for path, method in methods.items()}
    server.add_generic_rpc_handlers((_MethodHandlers(handlers),))
    return server


def listen(server: aio.Server, address: str, tls: Tls | None) -> int:
    """Listen on `address` (`host:port`; port 0 means any free port) and return the port.

    Raises ConfigError if the port is in use.
    """
    try:
        if tls is None:
            return server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {address} for gRPC",
            remedy="stop the process that uses the port, or choose another port (--piped-api-port);"
            " --host must be an address of this machine",
        ) from error


def _connection_options(settings: ConnectionSettings) -> Sequence[tuple[str, int]]:
    return (
        ("grpc.max_allowed_incoming_connections", max_connections(settings.max_connections)),
        ("grpc.max_concurrent_streams", settings.grpc_max_streams),
        ("grpc.server.max_pending_requests", settings.grpc_max_pending),
        ("grpc.server.max_pending_requests_hard_limit", settings.grpc_max_pending_limit),
        ("grpc.server_handshake_timeout_ms", int(settings.grpc_handshake_timeout * 1000)),
        ("grpc.max_connection_idle_ms", int(settings.grpc_idle_timeout * 1000)),
        ("grpc.keepalive_time_ms", int(settings.grpc_keepalive_interval * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.grpc_handshake_timeout * 1000)),
    )


class _MethodHandlers(grpc.GenericRpcHandler):
    """Looks up the handler of a call by its path."""

    def __init__(self, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]) -> None:
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handlers.get(details.method)


def _handler(services: Services, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
    # Without (de)serializers, gRPC passes requests and responses as bytes. Requests are streams for it: it
    # would call the handler of a single request only after that has arrived.
    if method.streams:
        return grpc.stream_stream_rpc_method_handler(_streaming(services, method))
    return grpc.stream_unary_rpc_method_handler(_unary(services, method))


def _unary(services: Services, method: Method) -> Callable[[object, Context], Awaitable[bytes]]:
    async def handle(_: object, context: Context) -> bytes:
        try:
            traceparent = _traceparent(context) if tracing.enabled() else ""
            async with record_call(services.clock, method, context.peer(), traceparent):
                caller = await guard.authorize(services, method, _call_metadata(context, method))
                request = await _receive(services, method, caller, context)
                return (await guard.serve(services, method, caller, request)).SerializeToString()
        except Exception as error:  # noqa: BLE001 RPC boundary: every error becomes a status
            return await _abort(context, method, error)

    return handle


def _streaming(services: Services, method: Method) -> Callable[[object, Context], AsyncIterator[bytes]]:
    async def handle(_: object, context: Context) -> AsyncIterator[bytes]:
        try:
            async with record_call(services.clock, method, context.peer()):
                caller = await guard.authorize(services, method, _call_metadata(context, method))
                request = await _receive(services, method, caller, context)
                async with aclosing(guard.stream(services, method, caller, request)) as messages:
                    async for message in messages:
                        yield message.SerializeToString()
        except Exception as error:  # noqa: BLE001 RPC boundary: every error becomes a status
            await _abort(context, method, error)

    return handle


async def _abort(context: Context, method: Method, error: Exception) -> bytes:
    status = to_status(error, method.path)
    await context.abort(grpc.StatusCode[status.code], status.message)
    raise AssertionError("abort always raises")


async def _receive(services: Services, method: Method, caller: Caller, context: Context) -> Message:
    """The request of an authorized call. Raises Refused if it is missing or not valid, or Temporary."""
    limit = services.settings.connections.body_timeout
    with services.call_limits.receiving(caller):
        try:
            async with timeout(services.clock, limit):
                data = await context.read()
        except TimeoutError:
            raise Refused(f"the request did not arrive within {limit:g} s") from None
    if not isinstance(data, bytes):
        raise Refused("the call has no request")
    try:
        if len(data) > MAX_SIZE_ON_LOOP:
            return await asyncio.to_thread(method.request.FromString, data)
        return method.request.FromString(data)
    except DecodeError:
        raise Refused(f"the request is not a valid {method.request.DESCRIPTOR.full_name}") from None


def _traceparent(context: Context) -> str:
    metadata = context.invocation_metadata() or ()
    return next((str(value) for key, value in metadata if key == tracing.HEADER), "")


def _call_metadata(context: Context, method: Method) -> CallMetadata:
    pairs = [(key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str)]
    metadata = dict(pairs)
    return CallMetadata(
        action=method.path,
        authorization=metadata.get("authorization", ""),
        cookie=metadata.get("cookie", ""),
        instance=metadata.get(INSTANCE_METADATA_KEY, ""),
        peer=context.peer(),
        forwarded_for=",".join(value for key, value in pairs if key == "x-forwarded-for"),
    )

"""The gRPC port: every service of the table behind one generic handler.

Messages arrive as bytes and are parsed after the credential was checked. Started and stopped by `run`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from pipecd.controlplane.rpc import guard
from pipecd.controlplane.rpc.guard import Shown
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.record import recorded
from pipecd.controlplane.rpc.status import failure
from pipecd.controlplane.services import Plane
from pipecd.errors import ConfigError, Refused

INSTANCE = "pipecd-instance"
_OPTIONS: Sequence[tuple[str, int]] = (
    # Agents ping through proxies and firewalls that forget silent connections.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A second control plane on the same port is a mistake, not a wish.
    ("grpc.so_reuseport", 0),
)

Context = aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Tls:
    """PEM bytes."""

    certificate: bytes
    key: bytes


def server(plane: Plane, methods: Mapping[str, Method]) -> aio.Server:
    """A server without a port yet; see `listen`."""
    made = aio.server(options=_OPTIONS)
    made.add_generic_rpc_handlers((_Door({path: _handler(plane, one) for path, one in methods.items()}),))
    return made


def listen(to: aio.Server, address: str, tls: Tls | None) -> int:
    """Open `address` (`host:port`, port 0 for any) and return the port. Raises ConfigError when taken."""
    try:
        if tls is None:
            return to.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
        return to.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {address} for gRPC", remedy="stop what uses the port or choose another"
        ) from error


class _Door(grpc.GenericRpcHandler):
    def __init__(self, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]) -> None:
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return self._handlers.get(details.method)


def _handler(plane: Plane, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
    # Without (de)serializers bytes go in and out.
    if method.streams:
        return grpc.unary_stream_rpc_method_handler(_streaming(plane, method))
    return grpc.unary_unary_rpc_method_handler(_unary(plane, method))


def _unary(plane: Plane, method: Method) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(data: bytes, context: Context) -> bytes:
        try:
            async with recorded(method, context.peer()):
                caller = await guard.admit(plane, method, _shown(context))
                request = _parse(method, data)
                return (await guard.serve(plane, method, caller, request)).SerializeToString()
        except Exception as error:  # noqa: BLE001 the edge: every error ends here, as a status
            return await _abort(context, method, error)

    return answer


def _streaming(plane: Plane, method: Method) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
    async def answer(data: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            async with recorded(method, context.peer()):
                caller = await guard.admit(plane, method, _shown(context))
                request = _parse(method, data)
                async with aclosing(guard.stream(plane, method, caller, request)) as messages:
                    async for message in messages:
                        yield message.SerializeToString()
        except Exception as error:  # noqa: BLE001 the edge: every error ends here, as a status
            await _abort(context, method, error)

    return answer


async def _abort(context: Context, method: Method, error: Exception) -> bytes:
    failed = failure(error, method.path)
    await context.abort(grpc.StatusCode[failed.code], failed.text)
    raise AssertionError("abort raises")


def _parse(method: Method, data: bytes) -> Message:
    try:
        return method.request.FromString(data)
    except DecodeError:
        raise Refused(f"the request is no {method.request.DESCRIPTOR.full_name}") from None


def _shown(context: Context) -> Shown:
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    return Shown(
        authorization=metadata.get("authorization", ""),
        cookie=metadata.get("cookie", ""),
        instance=metadata.get(INSTANCE, ""),
        address=context.peer(),
    )

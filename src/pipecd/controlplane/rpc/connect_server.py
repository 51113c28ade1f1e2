"""The Connect server: an ASGI application that serves the console's services under `/api`.

Supports JSON and binary encoding, unary calls and server streams. The session is checked before the request
body is read.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.message import Message
from protobuf.wkt import Any as Any_
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from pipecd import tracing
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.rpc import guard, json_codec
from pipecd.controlplane.rpc.call_metrics import record_call
from pipecd.controlplane.rpc.identity import CallMetadata
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.status import Status, to_status
from pipecd.controlplane.services import Services
from pipecd.schema.pipecd.v1.errors_pb2 import FieldViolation

Context = RequestContext[Any, Any]

#: In bytes. The console sends small requests, and the library parses them, JSON included, on the event loop.
MAX_CONSOLE_REQUEST_SIZE = 256 * 1024

#: The caller of the call this task serves: set on authorization, read after the body is parsed.
_caller: ContextVar[Caller] = ContextVar("caller")


class ConsoleApplication(ConnectASGIApplication[None]):
    """Serves `methods` under the path where it is mounted."""

    def __init__(self, services: Services, methods: Mapping[str, Method]) -> None:
        super().__init__(
            service=None,
            endpoints=lambda _: {path: _endpoint(services, method) for path, method in methods.items()},
            interceptors=(_CallInterceptor(services, methods),),
            codecs=json_codec.codecs(),
            read_max_bytes=MAX_CONSOLE_REQUEST_SIZE,
        )

    @property
    def path(self) -> str:
        return ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The library takes headers for UTF-8, which HTTP does not demand.
        if scope["type"] == "http" and not all(_is_text(*pair) for pair in scope["headers"]):
            await PlainTextResponse("a header is not UTF-8 text", status_code=400)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _is_text(name: bytes, value: bytes) -> bool:
    try:
        name.decode()
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class _CallInterceptor:
    """Authorizes each call before its body is read, and records its result."""

    def __init__(self, services: Services, methods: Mapping[str, Method]) -> None:
        self._services, self._methods = services, methods

    async def on_start(self, ctx: Context) -> AsyncExitStack:
        method = self._methods[f"/{ctx.method.service_name}/{ctx.method.name}"]
        stack = AsyncExitStack()
        recording = record_call(
            self._services.clock,
            method,
            ctx.client_address or "",
            ctx.request_headers.get(tracing.HEADER, ""),
        )
        await stack.enter_async_context(recording)
        try:
            _caller.set(await guard.authorize(self._services, method, _call_metadata(ctx, method)))
        except Exception as error:
            await stack.__aexit__(type(error), error, error.__traceback__)
            raise _connect_error(error, method) from error
        return stack

    async def on_end(self, stack: AsyncExitStack, ctx: Context, error: Exception | None) -> None:
        cause = error.__cause__ if isinstance(error, ConnectError) and error.__cause__ else error
        await stack.__aexit__(type(cause) if cause else None, cause, None)


def _endpoint(services: Services, method: Method) -> Any:
    info: MethodInfo[Any, Any] = MethodInfo(
        name=method.name,
        service_name=method.service,
        input=method.request,
        output=method.response,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if method.streams else StreamType.UNARY,
    )
    if method.streams:
        return Endpoint.server_stream(info, _streaming(services, method))
    return Endpoint.unary(info, _unary(services, method))


def _unary(services: Services, method: Method) -> Callable[[Message, Context], Awaitable[Message]]:
    async def handle(request: Message, _: Context) -> Message:
        try:
            return await guard.serve(services, method, _caller.get(), request)
        except Exception as error:
            raise _connect_error(error, method) from error

    return handle


def _streaming(services: Services, method: Method) -> Callable[[Message, Context], AsyncGenerator[Message]]:
    async def handle(request: Message, _: Context) -> AsyncGenerator[Message]:
        try:
            async with aclosing(guard.stream(services, method, _caller.get(), request)) as messages:
                async for message in messages:
                    yield message
        except Exception as error:
            raise _connect_error(error, method) from error

    return handle


def _connect_error(error: Exception, method: Method) -> ConnectError:
    status = to_status(error, method.path)
    return ConnectError(Code[status.code], status.message, _details(status))


def _details(status: Status) -> Sequence[ErrorDetail]:
    """The field that is wrong, for the form that sent it."""
    if not status.field:
        return ()
    violation = FieldViolation(field=status.field)
    type_url = f"type.googleapis.com/{FieldViolation.DESCRIPTOR.full_name}"
    return [ErrorDetail(Any_(type_url=type_url, value=violation.SerializeToString()))]


def _call_metadata(ctx: Context, method: Method) -> CallMetadata:
    return CallMetadata(
        action=method.path,
        cookie=ctx.request_headers.get("cookie", ""),
        # `<host>:<port>`, also if the host is an IPv6 address.
        peer=(ctx.client_address or "").rpartition(":")[0],
        forwarded_for=",".join(ctx.request_headers.getall("x-forwarded-for")),
    )

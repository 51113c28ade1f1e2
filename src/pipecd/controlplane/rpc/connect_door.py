"""The console's services over the Connect protocol: an ASGI application for the HTTP server's `/api`.

JSON and binary, unary and server streams. The session is checked before the body is read.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from typing import Any

from connectrpc.code import Code
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.rpc import guard
from pipecd.controlplane.rpc.guard import Shown
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.record import recorded
from pipecd.controlplane.rpc.status import failure
from pipecd.controlplane.services import Plane

Context = RequestContext[Any, Any]

#: Who makes the call that this task answers: set when it is admitted, read when its body was parsed.
_caller: ContextVar[Caller] = ContextVar("caller")


class ConsoleApplication(ConnectASGIApplication[None]):
    """Serves `methods` below the path where it is mounted."""

    def __init__(self, plane: Plane, methods: Mapping[str, Method]) -> None:
        super().__init__(
            service=None,
            endpoints=lambda _: {path: _endpoint(plane, one) for path, one in methods.items()},
            interceptors=(_Door(plane, methods),),
            codecs=google_protobuf_codecs(),
        )

    @property
    def path(self) -> str:
        return ""


class _Door:
    """Admits each call before its body is read, and records how it ends."""

    def __init__(self, plane: Plane, methods: Mapping[str, Method]) -> None:
        self._plane, self._methods = plane, methods

    async def on_start(self, ctx: Context) -> AsyncExitStack:
        method = self._methods[f"/{ctx.method.service_name}/{ctx.method.name}"]
        stack = AsyncExitStack()
        await stack.enter_async_context(recorded(method, ctx.client_address or ""))
        try:
            _caller.set(await guard.admit(self._plane, method, _shown(ctx)))
        except Exception as error:
            await stack.__aexit__(type(error), error, error.__traceback__)
            raise _connect_error(error, method) from error
        return stack

    async def on_end(self, stack: AsyncExitStack, ctx: Context, error: Exception | None) -> None:
        cause = error.__cause__ if isinstance(error, ConnectError) and error.__cause__ else error
        await stack.__aexit__(type(cause) if cause else None, cause, None)


def _endpoint(plane: Plane, method: Method) -> Any:
    info: MethodInfo[Any, Any] = MethodInfo(
        name=method.name,
        service_name=method.service,
        input=method.request,
        output=method.response,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if method.streams else StreamType.UNARY,
    )
    if method.streams:
        return Endpoint.server_stream(info, _streaming(plane, method))
    return Endpoint.unary(info, _unary(plane, method))


def _unary(plane: Plane, method: Method) -> Callable[[Message, Context], Awaitable[Message]]:
    async def answer(request: Message, _: Context) -> Message:
        try:
            return await guard.serve(plane, method, _caller.get(), request)
        except Exception as error:
            raise _connect_error(error, method) from error

    return answer


def _streaming(plane: Plane, method: Method) -> Callable[[Message, Context], AsyncGenerator[Message]]:
    async def answer(request: Message, _: Context) -> AsyncGenerator[Message]:
        try:
            async with aclosing(guard.stream(plane, method, _caller.get(), request)) as messages:
                async for message in messages:
                    yield message
        except Exception as error:
            raise _connect_error(error, method) from error

    return answer


def _connect_error(error: Exception, method: Method) -> ConnectError:
    failed = failure(error, method.path)
    return ConnectError(Code[failed.code], failed.text)


def _shown(ctx: Context) -> Shown:
    return Shown(cookie=ctx.request_headers.get("cookie", ""), address=ctx.client_address or "")

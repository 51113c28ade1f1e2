"""A client of the control plane without a network, for tests in virtual time.

`memory_client` is a real `Client` whose calls are answered in the same task by a servicer, as a gRPC server
would: errors, retries and `last_success` are those of `Client`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import grpc
from grpc import aio

from pipecd.client import Client, PipedToken, Transport
from pipecd.clock import Clock
from pipecd.schema.agent import service_pb2
from pipecd.schema.pipecd.v1 import agent_pb2

TOKEN = PipedToken(project_id="j", piped_id="p", key="key\n")
METHODS = {
    name: method
    for module, service in ((service_pb2, "PipedService"), (agent_pb2, "AgentService"))
    for name, method in module.DESCRIPTOR.services_by_name[service].methods_by_name.items()
}


class Context:
    """The part of `grpc.aio.ServicerContext` that servicers in tests use."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._metadata

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        raise aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details=details)


class _Stub:
    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, *, timeout: float, metadata: Sequence[tuple[str, str]]) -> Any:
            return await getattr(self._servicer, name)(request, Context(metadata))

        return call


class Calls:
    """A servicer that records every call of both services of agents, and answers with an empty response.

    `answers` makes the response from the request. `refuse` fails calls of a method, or of all methods ("*"),
    with a status code.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.refuse: dict[str, grpc.StatusCode] = {}
        self.answers: dict[str, Callable[[Any], Any]] = {}

    def requests(self, name: str) -> list[Any]:
        return [request for called, request in self.calls if called == name]

    def __getattr__(self, name: str) -> Callable[[Any, Context], Awaitable[Any]]:
        if name not in METHODS:
            raise AttributeError(name)

        async def answer(request: Any, context: Context) -> Any:
            self.calls.append((name, request))
            if code := self.refuse.get(name, self.refuse.get("*")):
                await context.abort(code, f"{name} is refused")
            make = self.answers.get(name) or (lambda _: METHODS[name].output_type._concrete_class())
            return make(request)

        return answer


def memory_client(servicer: Any, clock: Clock) -> Client:
    client = Client("control-plane.example", TOKEN, Transport(insecure=True), clock=clock)
    stub: Any = _Stub(servicer)
    client.piped = client.agent = stub
    return client

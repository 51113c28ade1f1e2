"""Calls and streams of one credential are limited, and those of others do not wait for them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from pipecd.controlplane.auth.call_limits import CallLimits
from pipecd.controlplane.auth.caller import Agent, Caller, Program
from pipecd.controlplane.rpc import guard
from pipecd.controlplane.rpc.method import ApiKey, Method, PipedKey
from pipecd.controlplane.rpc.table import methods
from pipecd.controlplane.settings import CallSettings
from pipecd.controlplane.store.turns import yields
from pipecd.errors import Temporary
from pipecd.model.actor import Actor, ActorKind
from pipecd.schema.api.applications_pb2 import GetApplicationRequest, GetApplicationResponse


class Server:
    """Serves calls that end when `may_end` is set."""

    def __init__(self) -> None:
        limits = CallLimits(CallSettings(max_running=2, max_running_of_agent=1, max_waiting=3, max_streams=2))
        refusals = SimpleNamespace(recording=lambda _: nullcontext())
        self.services: Any = SimpleNamespace(call_limits=limits, refusals=refusals)
        self.running = 0
        #: Keys of the calls that ended, in their order.
        self.served: list[str] = []
        self.may_end = asyncio.Event()

    def call(self, key_id: str, project_id: str = "shop", name: str = "Call") -> "asyncio.Task[Any]":
        request = GetApplicationRequest(application_id="a")
        method = _method(self._handle, streams=False, name=name)
        return asyncio.create_task(guard.serve(self.services, method, _program(key_id, project_id), request))

    def stream(self, key_id: str) -> AsyncGenerator[Any]:
        request = GetApplicationRequest(application_id="a")
        return guard.stream(self.services, _method(self._stream, streams=True), _program(key_id), request)

    async def _handle(self, _: object, caller: Program, *__: object) -> GetApplicationResponse:
        self.running += 1
        await self.may_end.wait()
        self.running -= 1
        self.served.append(caller.key_id)
        return GetApplicationResponse()

    async def _stream(self, *_: object) -> AsyncGenerator[GetApplicationResponse]:
        while True:
            yield GetApplicationResponse()


def _method(handler: Any, *, streams: bool, name: str = "Call") -> Method:
    return Method(
        service="s",
        name=name,
        request=GetApplicationRequest,
        response=GetApplicationResponse,
        needs=ApiKey(writes=False),
        handler=handler,
        streams=streams,
    )


def _program(key_id: str, project_id: str = "shop") -> Program:
    actor = Actor(kind=ActorKind.API_KEY, id=key_id, name=key_id, action="call", project_id=project_id)
    return Program(actor=actor, project_id=project_id, key_id=key_id, key_name=key_id, may_write=False)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_caller_with_many_calls_waits_for_its_own_only() -> None:
    server = Server()
    busy = [server.call("busy") for _ in range(6)]
    await settle()
    assert server.running == 2
    with pytest.raises(Temporary, match="busy has 5 calls at the same time"):
        await busy.pop()
    others = [server.call("other"), server.call("busy", "another project")]
    await settle()
    assert server.running == 4
    server.may_end.set()
    await asyncio.gather(*busy, *others)
    await server.call("busy")


async def test_a_call_that_is_cancelled_while_it_waits_leaves_its_place() -> None:
    server = Server()
    calls = [server.call("busy") for _ in range(5)]
    await settle()
    for cancelled in (calls[0], calls[3]):
        cancelled.cancel()
    await settle()
    assert server.running == 3  # The cancelled one did not count itself out.
    calls += [server.call("busy") for _ in range(2)]
    await settle()
    server.may_end.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results].count(asyncio.CancelledError) == 2
    assert not [result for result in results if isinstance(result, Temporary)]


async def test_streams_of_a_caller_are_limited() -> None:
    server = Server()
    async with aclosing(server.stream("busy")) as first, aclosing(server.stream("busy")) as second:
        await anext(first)
        await anext(second)
        with pytest.raises(Temporary, match="busy has 2 streams"):
            await anext(server.stream("busy"))
        await anext(server.stream("other"))
    async with aclosing(server.stream("busy")) as third:
        await anext(third)


async def test_no_call_waits_for_those_that_wait_for_an_agent() -> None:
    assert {method.name for method in methods().values() if not method.streams} >= guard.WAITING
    server = Server()
    waiting = [server.call("busy", name=name) for name in ("SeeResource", "TestReceiver")]
    calls = [server.call("busy") for _ in range(2)]
    await settle()
    assert server.running == 4
    with pytest.raises(Temporary, match="busy has 2 streams"):
        await server.call("busy", name="SeeResource")
    server.may_end.set()
    await asyncio.gather(*waiting, *calls)


async def test_a_caller_with_many_searches_keeps_nothing_else_waiting() -> None:
    """Neither its own other calls, nor those of others, whose searches take turns with its own."""
    server = Server()
    flood = [server.call("busy", name="PageApplications") for _ in range(4)]
    await settle()
    assert server.running == 1
    calls = [server.call("busy"), server.call("other")]
    await settle()
    assert server.running == 3
    searches = [server.call(caller, name="PageDeployments") for caller in ("second", "third", "fourth")]
    await settle()
    # Two of all callers.
    assert server.running == 4
    server.may_end.set()
    await asyncio.gather(*flood, *calls, *searches)
    assert server.served[:2] == ["busy", "busy"]
    assert server.served[2:] == ["other", "second", "third", "fourth", "busy", "busy", "busy"]


def test_every_list_with_filters_takes_turns() -> None:
    lists = {
        method.name
        for method in methods().values()
        if method.name.startswith(("List", "Page")) and not isinstance(method.needs, PipedKey)
        if {"search", "labels", "options"} & {field.name for field in method.request.DESCRIPTOR.fields}
    }
    # Short lists, and one that is read by an index.
    assert lists - guard.SCANS == {"ListAPIKeys", "ListDeploymentChains", "ListPipeds"}
    assert {method.name for method in methods().values()} >= guard.SCANS


async def test_calls_of_agents_leave_room_in_the_database_and_their_streams_do_not() -> None:
    """A stream renews the lease, and brings commands of people."""
    server, seen = Server(), []

    async def handle(*_: object) -> GetApplicationResponse:
        seen.append(yields())
        return GetApplicationResponse()

    async def stream(*_: object) -> AsyncGenerator[GetApplicationResponse]:
        seen.append(yields())
        yield GetApplicationResponse()

    actor = Actor(kind=ActorKind.PIPED, id="home", name="home", action="call", project_id="shop")
    agent = Agent(actor=actor, project_id="shop", piped_id="home")
    callers: list[Caller] = [agent, _program("ci")]
    request = GetApplicationRequest(application_id="a")
    for caller in callers:
        await guard.serve(server.services, _method(handle, streams=False), caller, request)
        async with aclosing(
            guard.stream(server.services, _method(stream, streams=True), caller, request)
        ) as messages:
            await anext(messages)
    assert seen == [True, False, False, False]
    assert not yields()

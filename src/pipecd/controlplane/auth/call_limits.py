"""Limits of the calls and streams of each credential, so that one caller cannot take the time of others.

`rpc.grpc_server` enters `receiving` before the request is read. After the credential is checked, `rpc.guard`
enters `running` for each call, `scanning` for one that may read all records of a project, and `streaming` for
each stream. A caller with many calls waits for its own; those of others are not behind them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from pipecd.controlplane.auth.caller import Agent, Caller
from pipecd.controlplane.settings import CallSettings
from pipecd.errors import Temporary

#: Kind of the caller, project, and name of the agent, the key or the person.
_Key = tuple[str, str, str]


@dataclass
class _Calls:
    """`count` includes the calls that wait."""

    running: asyncio.Semaphore
    scanning: asyncio.Semaphore
    maximum: int
    count: int = 0


class CallLimits:
    def __init__(self, settings: CallSettings) -> None:
        self._settings = settings
        self._scanning = asyncio.Semaphore(settings.max_scanning)
        self._calls: dict[_Key, _Calls] = {}
        self._streams: Counter[_Key] = Counter()
        self._receiving: Counter[_Key] = Counter()

    @asynccontextmanager
    async def running(self, caller: Caller) -> AsyncIterator[None]:
        """Waits until the caller may run another call. Raises Temporary if too many of its calls wait."""
        with self._counting(caller) as calls:
            async with calls.running:
                yield

    @asynccontextmanager
    async def scanning(self, caller: Caller) -> AsyncIterator[None]:
        """As `running`, for a call that may read all records of a project, and keeps no other call waiting.

        A few of all callers run at the same time, in turns, so that the database has time for other calls.
        """
        with self._counting(caller) as calls:
            async with calls.scanning, self._scanning:
                yield

    @contextmanager
    def _counting(self, caller: Caller) -> Iterator[_Calls]:
        key, settings = _key(caller), self._settings
        calls = self._calls.get(key)
        if calls is None:
            is_agent = isinstance(caller, Agent)
            running = settings.max_running_of_agent if is_agent else settings.max_running
            calls = self._calls[key] = _Calls(
                asyncio.Semaphore(running), asyncio.Semaphore(1), running + settings.max_waiting
            )
        if calls.count >= calls.maximum:
            raise Temporary(f"{caller.name} has {calls.count} calls at the same time; wait for their answers")
        calls.count += 1
        try:
            yield calls
        finally:
            calls.count -= 1
            if not calls.count:
                del self._calls[key]

    @contextmanager
    def receiving(self, caller: Caller) -> Iterator[None]:
        """While the request of a call is received. Raises Temporary if too many of the caller's are."""
        what = "calls whose requests have not arrived"
        with _counted(self._receiving, caller, self._settings.max_waiting, what):
            yield

    @contextmanager
    def streaming(self, caller: Caller) -> Iterator[None]:
        """Raises Temporary if the caller has too many streams."""
        with _counted(self._streams, caller, self._settings.max_streams, "streams; close some of them"):
            yield


@contextmanager
def _counted(counts: Counter[_Key], caller: Caller, maximum: int, what: str) -> Iterator[None]:
    """Counts the block for the caller. Raises Temporary, which says `what` there are too many of."""
    key = _key(caller)
    if counts[key] >= maximum:
        raise Temporary(f"{caller.name} has {counts[key]} {what}")
    counts[key] += 1
    try:
        yield
    finally:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


def _key(caller: Caller) -> _Key:
    return caller.actor.kind, caller.project_id, caller.name

"""Holds the one stream over which the control plane says what to look at again.

Turns each hint into a tick of the loop that reads the thing itself. A hint is never a fact: a forged or
lost one costs a look-up or a poll interval. Against a control plane without the stream, polling is all.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from pipecd.client import Client
from pipecd.errors import PipecdError, Unsupported
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.retry import Retry
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest

log = structlog.get_logger()

#: The control plane speaks at least every 15 s; longer silence than this is a dead connection (seconds).
SILENCE = 40.0
RECONNECT = Retry(base=0.5, cap=10.0, tries=1_000_000)
#: How often to ask a control plane without the stream whether it was upgraded (seconds).
ASK_AGAIN = 300.0


@dataclass(frozen=True, kw_only=True)
class Hints:
    """Whom to wake for what. `repository` is given the remote."""

    applications: Callable[[], None]
    deployments: Callable[[], None]
    commands: Callable[[], None]
    events: Callable[[], None]
    repository: Callable[[str], None]

    def all(self) -> None:
        """Look at everything: something may have happened unheard."""
        for wake in (self.applications, self.deployments, self.commands, self.events):
            wake()
        self.repository("")


_LEASES: Mapping[int, Lease] = {
    AgentChange.LEASE_GRANTED: Lease.GRANTED,
    AgentChange.LEASE_HELD: Lease.HELD,
    AgentChange.REVOKED: Lease.REVOKED,
}


async def watch(client: Client, instance: str, hints: Hints, leadership: Leadership) -> None:
    """Keep the stream open, for ever."""
    delays = RECONNECT.delays(random.Random())
    while True:
        try:
            async with aclosing(
                client.stream(client.agent.Watch, AgentWatchRequest(instance=instance))
            ) as stream:
                while True:
                    async with asyncio.timeout(SILENCE):
                        change = await anext(stream)
                    delays = RECONNECT.delays(random.Random())
                    _heed(change, hints, leadership)
        except Unsupported:
            log.info("control plane has no watch stream", instead="polling")
            leadership.now(Lease.FREE)
            await asyncio.sleep(ASK_AGAIN)
        except (PipecdError, TimeoutError, StopAsyncIteration) as error:
            _lost(leadership, error)
            await asyncio.sleep(next(delays))


def _heed(change: AgentChange, hints: Hints, leadership: Leadership) -> None:
    if change.kind in _LEASES:
        lease = _LEASES[change.kind]
        log.info("lease", lease=lease.value)
        leadership.now(lease)
        if lease is Lease.GRANTED:
            hints.all()
        return
    match change.kind:
        case AgentChange.COMMANDS:
            hints.commands()
        case AgentChange.APPLICATIONS:
            hints.applications()
        case AgentChange.DEPLOYMENTS:
            hints.deployments()
        case AgentChange.EVENTS:
            hints.events()
        case AgentChange.REPOSITORY:
            hints.repository(change.remote)


def _lost(leadership: Leadership, error: Exception) -> None:
    """A revoked or held lease stays so until the control plane says otherwise."""
    why = str(error) or type(error).__name__
    log.warning("watch stream ended", why=why)
    if not leadership.lease.must_end:
        leadership.now(Lease.UNSURE)

"""Tells agents and browsers what changed, as it happens; and knows which agent process is at work.

A stream carries hints only: who hears one looks the thing up. While an agent's stream is open, its process
holds the piped's lease; a second process is told so and waits.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence

import structlog

from pipecd.controlplane.auth.caller import Agent, Person
from pipecd.controlplane.records import live_state, suggestions
from pipecd.controlplane.records.pipeds import LEFT
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import Store, lists, stage_logs
from pipecd.controlplane.store.feed import BY_AGENT, RESYNC, Change
from pipecd.controlplane.store.leases import lease_of
from pipecd.errors import NotFound, PipecdError, Refused
from pipecd.remotes import same_repository
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest
from pipecd.schema.pipecd.v1.console_pb2 import ConsoleChange, ConsoleWatchRequest

log = structlog.get_logger()

HEARTBEAT = 10.0
#: A lease outlives its stream's last sign of life by this long; it is renewed far more often (seconds).
LEASE = 15.0
RENEW = 4.0
#: How often a process that waits for the lease asks again (seconds).
ASK = 1.0
#: Announcement: a repository was pushed to; `id` is the remote as the agent writes it.
REPOSITORY = "repository"

_AGENT_KINDS: Mapping[str, AgentChange.Kind.ValueType] = {
    "command": AgentChange.COMMANDS,
    "application": AgentChange.APPLICATIONS,
    REPOSITORY: AgentChange.REPOSITORY,
}

_CONSOLE_KINDS: Mapping[str, ConsoleChange.Kind.ValueType] = {
    "application": ConsoleChange.APPLICATION,
    "deployment": ConsoleChange.DEPLOYMENT,
    stage_logs.CHANGED: ConsoleChange.STAGE_LOG,
    "piped": ConsoleChange.PIPED,
    "command": ConsoleChange.COMMAND,
    suggestions.CHANGED: ConsoleChange.SUGGESTIONS,
    "project": ConsoleChange.PROJECT,
    "event": ConsoleChange.EVENT,
    "api_key": ConsoleChange.API_KEY,
    live_state.CHANGED: ConsoleChange.LIVE_STATE,
}


class Hints:
    """What webhooks are for: they may say where to look, and nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def repository_changed(self, remotes: Sequence[str]) -> int:
        """Tells every agent that has one of `remotes`; how many those are."""
        told = 0
        for piped in await lists.all_pipeds(self._store):
            for repository in piped.repositories:
                if any(same_repository(repository.remote, remote) for remote in remotes):
                    told += 1
                    await self._store.announce(
                        REPOSITORY, project_id=piped.project_id, id=repository.remote, piped_id=piped.id
                    )
        return told


async def agent(plane: Plane, caller: Agent, request: AgentWatchRequest) -> AsyncGenerator[AgentChange]:
    """The stream of one agent process, until it goes away or may not call any more."""
    instance, lease = request.instance, lease_of(caller.piped_id)
    if caller.instance and caller.instance != instance:
        raise Refused("the metadata names another instance than the request")
    held: bool | None = None
    with plane.store.feed.listening() as changes:
        try:
            while True:
                if await _revoked(plane, caller):
                    yield AgentChange(kind=AgentChange.REVOKED)
                    return
                granted = await plane.store.leases.acquire(lease, instance, LEASE)
                if granted is not held:
                    held = granted
                    yield AgentChange(kind=AgentChange.LEASE_GRANTED if held else AgentChange.LEASE_HELD)
                    log.info("agent's stream", piped=caller.piped_id, instance=instance, at_work=held)
                    await _tell_presence(plane, caller)
                async for change in _until(changes, RENEW if held else ASK):
                    for hint in _agent_hints(change, caller):
                        yield hint
                    if change.kind == "piped" and change.id == caller.piped_id:
                        break
                yield AgentChange(kind=AgentChange.HEARTBEAT)
        finally:
            await plane.store.leases.release(lease, instance)
            await plane.store.put_fact(LEFT, caller.piped_id, caller.project_id, b"")
            await _tell_presence(plane, caller)


async def console(plane: Plane, caller: Person, _: ConsoleWatchRequest) -> AsyncGenerator[ConsoleChange]:
    """The stream of one browser tab: changes of its project."""
    with plane.store.feed.listening() as changes:
        while True:
            yield ConsoleChange(kind=ConsoleChange.HEARTBEAT)
            async for change in _until(changes, HEARTBEAT):
                if change is RESYNC:
                    yield ConsoleChange(kind=ConsoleChange.RESYNC)
                elif change.project_id == caller.project_id and change.kind in _CONSOLE_KINDS:
                    is_log = change.kind == stage_logs.CHANGED
                    yield ConsoleChange(
                        kind=_CONSOLE_KINDS[change.kind],
                        id=change.id,
                        stage_id=change.detail if is_log else "",
                    )


async def _until(changes: asyncio.Queue[Change], seconds: float) -> AsyncGenerator[Change]:
    """The changes of the next `seconds`, each as it comes."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            async with asyncio.timeout(left):
                change = await changes.get()
        except TimeoutError:
            return
        yield change


def _agent_hints(change: Change, caller: Agent) -> Sequence[AgentChange]:
    if change is RESYNC:
        return [AgentChange(kind=kind) for kind in (*_AGENT_KINDS.values(), AgentChange.EVENTS)]
    if change.kind == "event":
        # Events belong to a project, not to one agent.
        mine = change.project_id == caller.project_id
        return [AgentChange(kind=AgentChange.EVENTS, id=change.id)] if mine else []
    kind = _AGENT_KINDS.get(change.kind)
    if kind is None or change.piped_id != caller.piped_id or change.detail == BY_AGENT:
        return []
    if kind == AgentChange.REPOSITORY:
        return [AgentChange(kind=kind, remote=change.id)]
    return [AgentChange(kind=kind, id=change.id)]


async def _revoked(plane: Plane, caller: Agent) -> bool:
    try:
        piped = await plane.credentials.get(Piped, caller.piped_id)
    except NotFound:
        return True
    return piped.disabled or all(key.hash != caller.key_hash for key in piped.keys)


async def _tell_presence(plane: Plane, caller: Agent) -> None:
    """So that the console shows who came and went."""
    try:
        await plane.store.announce("piped", project_id=caller.project_id, id=caller.piped_id)
    except PipecdError as error:
        log.warning("presence was not announced", piped=caller.piped_id, why=str(error))

"""Change notification streams for agents and browsers, and the lease of each piped.

A stream carries notifications only: the receiver fetches the changed record. While an agent's stream is open,
its process holds the piped's lease; a second process gets LEASE_HELD and waits.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import uuid4

import structlog
from google.protobuf.message import Message
from prometheus_client import Gauge

from pipecd.clock import Clock, timeout
from pipecd.controlplane.auth.caller import Agent, Person
from pipecd.controlplane.auth.keys import is_expired
from pipecd.controlplane.records import chains, live_state, ownership, pipeds
from pipecd.controlplane.rpc.identity import refresh_person
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import Store, lists, sessions, stage_logs
from pipecd.controlplane.store.feed import BY_AGENT, RESYNC, Change, of_agent, of_project, of_record
from pipecd.controlplane.store.kinds import DISCONNECTED, SUGGESTIONS
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.errors import NotFound, PipecdError, Refused, Unauthenticated
from pipecd.model.access import Action, Resource, allows, allows_record, conditions
from pipecd.remotes import canonical
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest
from pipecd.schema.pipecd.v1.console_pb2 import ConsoleChange, ConsoleWatchRequest

log = structlog.get_logger()

WATCHERS = Gauge("pipecd_watchers", "Open streams of change notifications, by who reads them.", ["reader"])

#: Kind of the change published when a repository was pushed to; its `id` is the remote as the agent's
#: configuration writes it.
REPOSITORY = "repository"

_AGENT_KINDS: Mapping[str, AgentChange.Kind.ValueType] = {
    "command": AgentChange.COMMANDS,
    "application": AgentChange.APPLICATIONS,
    REPOSITORY: AgentChange.REPOSITORY,
    chains.TURN: AgentChange.DEPLOYMENTS,
}

#: Put into the queue of an agent's stream when there is something to send in its `Connection`.
_WAKE = Change(kind="agent_request", project_id="", id="")

_CONSOLE_KINDS: Mapping[str, ConsoleChange.Kind.ValueType] = {
    "application": ConsoleChange.APPLICATION,
    "deployment": ConsoleChange.DEPLOYMENT,
    stage_logs.CHANGE_KIND: ConsoleChange.STAGE_LOG,
    "piped": ConsoleChange.PIPED,
    "command": ConsoleChange.COMMAND,
    SUGGESTIONS.name: ConsoleChange.SUGGESTIONS,
    "project": ConsoleChange.PROJECT,
    "event": ConsoleChange.EVENT,
    "api_key": ConsoleChange.API_KEY,
    live_state.CHANGE_KIND: ConsoleChange.LIVE_STATE,
    "chain": ConsoleChange.DEPLOYMENT_CHAIN,
}


#: The kind of resource that a change concerns. Every member may know of changes of other kinds: those of the
#: project, which include those of rights, and those of commands, which every member may read.
_RESOURCES: Mapping[str, Resource] = {
    "application": Resource.APPLICATION,
    SUGGESTIONS.name: Resource.APPLICATION,
    live_state.CHANGE_KIND: Resource.APPLICATION,
    "deployment": Resource.DEPLOYMENT,
    stage_logs.CHANGE_KIND: Resource.DEPLOYMENT,
    "event": Resource.EVENT,
    "piped": Resource.PIPED,
    "chain": Resource.DEPLOYMENT_CHAIN,
    "api_key": Resource.API_KEY,
}

#: A user who may do one of these with a record learns that it has changed.
_READ = (Action.GET, Action.LIST)

#: What the id of a change of this kind refers to, if its visibility depends on labels.
_LABELLED_KINDS: Mapping[str, type[Message]] = {
    "application": Application,
    live_state.CHANGE_KIND: Application,
    "deployment": Deployment,
    stage_logs.CHANGE_KIND: Deployment,
    "event": Event,
    "command": Command,
    "chain": DeploymentChain,
}

#: Kinds whose visibility depends on labels → of which records these are.
_LABELS_OF: Mapping[str, Collection[Resource]] = {
    "application": (Resource.APPLICATION,),
    live_state.CHANGE_KIND: (Resource.APPLICATION,),
    "deployment": (Resource.DEPLOYMENT,),
    stage_logs.CHANGE_KIND: (Resource.DEPLOYMENT,),
    "event": (Resource.EVENT,),
    "command": (Resource.APPLICATION, Resource.DEPLOYMENT),
    "chain": (Resource.APPLICATION,),
}


class RepositoryNotifier:
    """Used by webhooks: notifies agents that a repository changed. Webhooks have no other effect."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def notify_agents(self, remotes: Sequence[str]) -> int:
        """Notify every agent that has one of `remotes` configured; returns the number of notifications."""
        pipeds = await lists.all_pipeds(self._store)
        matches = await asyncio.to_thread(_find_repositories, pipeds, remotes)
        for piped, remote in matches:
            await self._store.announce(REPOSITORY, project_id=piped.project_id, id=remote, piped_id=piped.id)
        return len(matches)


def _find_repositories(pipeds: Sequence[Piped], remotes: Sequence[str]) -> list[tuple[Piped, str]]:
    """Each agent that has one of `remotes` configured, with the remote as it writes it."""
    wanted = {canonical(remote) for remote in remotes if remote}
    return [
        (piped, repository.remote)
        for piped in pipeds
        for repository in piped.repositories
        if repository.remote and canonical(repository.remote) in wanted
    ]


async def watch_agent(
    services: Services, caller: Agent, request: AgentWatchRequest
) -> AsyncGenerator[AgentChange]:
    """Stream of one agent process, until it disconnects, is disabled or its key is revoked.

    It also ends when the process has opened another stream, which then has the lease. The connection of the
    earlier one may be broken without having been noticed.
    """
    instance, lease, times = request.instance, piped_lease_name(caller.piped_id), services.settings.watch
    if caller.instance and caller.instance != instance:
        raise Refused("the instance in the metadata differs from the instance in the request")
    leases, stream = services.store.leases, str(uuid4())
    held: bool | None = None
    #: Epoch seconds before which the agent's record, and whether it responds, need not be read again.
    valid_until = responds_until = 0.0
    responding = True
    #: Monotonic time of the next heartbeat.
    heartbeat_at = 0.0
    async with AsyncExitStack() as stack:
        stack.enter_context(WATCHERS.labels("agent").track_inprogress())
        changes = stack.enter_context(
            services.store.feed.subscribe_to(_topics(caller), partial(_concerns_agent, caller))
        )
        requests = await stack.enter_async_context(
            services.agent_requests.connect(caller.piped_id, partial(_wake, changes))
        )
        try:
            while True:
                if services.clock.now() >= valid_until:
                    valid_until = await _valid_until(services, caller)
                    if not valid_until:
                        yield AgentChange(kind=AgentChange.REVOKED)
                        return
                granted = held and await leases.renew(lease, instance, times.lease_duration, stream=stream)
                if held and not granted and await leases.is_replaced(lease, instance, stream=stream):
                    log.info("agent_stream_replaced", piped=caller.piped_id, instance=instance)
                    return
                if not granted:
                    granted = await leases.acquire(lease, instance, times.lease_duration, stream=stream)
                if granted is not held:
                    held = granted
                    await services.agent_requests.set_available(
                        caller.piped_id, requests, available=held and request.answers_resource_requests
                    )
                    yield AgentChange(kind=AgentChange.LEASE_GRANTED if held else AgentChange.LEASE_HELD)
                    log.info("agent_lease", piped=caller.piped_id, instance=instance, granted=held)
                    await _publish_presence(services, caller)
                if held and services.clock.now() >= responds_until:
                    responds_until = await pipeds.responds_until(services, caller.piped_id)
                    if responding is not bool(responds_until):
                        responding = not responding
                        level = log.info if responding else log.warning
                        level(
                            "agent_responding" if responding else "agent_not_responding",
                            piped=caller.piped_id,
                        )
                        await _publish_presence(services, caller)
                interval = times.lease_renew_interval if held else times.lease_retry_interval
                async for change in _changes_within(services.clock, changes, interval):
                    for notification in (*requests.take(), *_agent_notifications(change, caller)):
                        yield notification
                    if change is RESYNC or _is_own_record(caller, change):
                        valid_until = 0.0
                        break
                for notification in requests.take():
                    yield notification
                if services.clock.monotonic() >= heartbeat_at:
                    heartbeat_at = services.clock.monotonic() + times.heartbeat_interval
                    yield AgentChange(kind=AgentChange.HEARTBEAT)
        finally:
            if await leases.release(lease, instance, stream=stream):
                await services.store.put_metadata(
                    DISCONNECTED, caller.piped_id, caller.project_id, b"", by=caller.actor
                )
            await _publish_presence(services, caller)


async def watch_console(
    services: Services, caller: Person, _: ConsoleWatchRequest
) -> AsyncGenerator[ConsoleChange]:
    """Stream of one browser tab: changes in its project of what the roles of the user include.

    Ends with Unauthenticated when the session ends.
    """
    interval = services.settings.watch.heartbeat_interval
    with WATCHERS.labels("console").track_inprogress(), services.store.feed.subscribe() as changes:
        while True:
            before, caller = caller, await refresh_person(services, caller)
            included = _included_kinds(caller)
            yield ConsoleChange(kind=ConsoleChange.HEARTBEAT)
            if caller.policies != before.policies:
                # Also when the provider of single sign-on says that the user's groups have changed.
                yield ConsoleChange(kind=ConsoleChange.PROJECT)
            async for change in _changes_within(services.clock, changes, interval):
                if change is RESYNC:
                    yield ConsoleChange(kind=ConsoleChange.RESYNC)
                elif change.project_id == caller.project_id and change.kind in included:
                    if not included[change.kind] and not await _includes(services, caller, change):
                        continue
                    is_log = change.kind == stage_logs.CHANGE_KIND
                    yield ConsoleChange(
                        kind=_CONSOLE_KINDS[change.kind],
                        id=change.id,
                        stage_id=change.detail if is_log else "",
                    )
                if change.kind == sessions.CHANGE_KIND and change.id == caller.session.id:
                    raise Unauthenticated("the session has ended; sign in again")
                if change.kind == "project" and change.project_id == caller.project_id:
                    # Its roles or its static admin may have changed.
                    break


def _included_kinds(caller: Person) -> Mapping[str, bool]:
    """The kinds of changes that the user's roles include → whether on all records, whatever their labels."""
    found = {}
    for kind in _CONSOLE_KINDS:
        resource = _RESOURCES.get(kind)
        if resource is None or any(allows(caller.policies, resource, action) for action in _READ):
            found[kind] = all(_includes_all(caller, labelled) for labelled in _LABELS_OF.get(kind, ()))
    return found


def _includes_all(caller: Person, resource: Resource) -> bool:
    return any(conditions(caller.policies, resource, action) is None for action in _READ)


async def _includes(services: Services, caller: Person, change: Change) -> bool:
    """Whether the user's roles include the record that changed."""
    kind = _LABELLED_KINDS.get(change.kind)
    if kind is None:
        return True
    try:
        record: Any = (await services.store.get(kind, change.id)).message
    except NotFound:
        return False
    if isinstance(record, Command):
        return await ownership.includes_command(services, caller, record)
    if isinstance(record, DeploymentChain):
        return bool(await ownership.hide_in_chains(services, caller, [record]))
    resource = _RESOURCES[change.kind]
    return any(allows_record(caller.policies, resource, action, record.labels) for action in _READ)


async def _changes_within(
    clock: Clock, changes: asyncio.Queue[Change], seconds: float
) -> AsyncGenerator[Change]:
    """Yield changes as they arrive, for `seconds`."""
    deadline = clock.monotonic() + seconds
    while (remaining := deadline - clock.monotonic()) > 0:
        if changes.empty():
            try:
                async with timeout(clock, remaining):
                    change = await changes.get()
            except TimeoutError:
                return
        else:
            change = changes.get_nowait()
        yield change


def _topics(caller: Agent) -> Collection[str]:
    """The topics of all changes that concern an agent."""
    return (
        of_record("piped", caller.piped_id),
        of_agent(caller.piped_id),
        # Events belong to a project, not to an agent.
        of_project("event", caller.project_id),
    )


def _concerns_agent(caller: Agent, change: Change) -> bool:
    return _is_own_record(caller, change) or bool(_agent_notifications(change, caller))


def _is_own_record(caller: Agent, change: Change) -> bool:
    return change.kind == "piped" and change.id == caller.piped_id


def _agent_notifications(change: Change, caller: Agent) -> Sequence[AgentChange]:
    if change is RESYNC:
        return [AgentChange(kind=kind) for kind in (*_AGENT_KINDS.values(), AgentChange.EVENTS)]
    if change.kind == "event":
        in_project = change.project_id == caller.project_id
        return [AgentChange(kind=AgentChange.EVENTS, id=change.id)] if in_project else []
    kind = _AGENT_KINDS.get(change.kind)
    if kind is None or change.piped_id != caller.piped_id or change.detail == BY_AGENT:
        return []
    if kind == AgentChange.REPOSITORY:
        return [AgentChange(kind=kind, remote=change.id)]
    return [AgentChange(kind=kind, id=change.id)]


def _wake(changes: asyncio.Queue[Change]) -> None:
    # A full queue is being read anyway.
    if not changes.full():
        changes.put_nowait(_WAKE)


async def _valid_until(services: Services, caller: Agent) -> float:
    """Epoch seconds until which the agent and its key are valid if no change is announced; 0 if they are not.

    Changes of the record are announced by the change feed. It is read again now and then all the same.
    """
    try:
        piped: Piped = (await services.store.get(Piped, caller.piped_id)).message
    except NotFound:
        return 0.0
    now = services.clock.now()
    keys = [key for key in piped.keys if key.hash == caller.key_hash and not is_expired(key, services.now())]
    if piped.disabled or not keys:
        return 0.0
    expiry = min((key.expires_at for key in keys if key.expires_at), default=math.inf)
    return min(now + services.settings.watch.credential_interval, expiry)


async def _publish_presence(services: Services, caller: Agent) -> None:
    """Publish a change of the piped, so that the console updates its connection status."""
    try:
        await services.store.announce("piped", project_id=caller.project_id, id=caller.piped_id)
    except PipecdError as error:
        log.warning("presence_not_published", piped=caller.piped_id, error=str(error))

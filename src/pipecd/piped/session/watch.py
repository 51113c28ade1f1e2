"""Keeps the stream on which the control plane announces changes and the lease.

Each change notification wakes the loop that reads the changed records. Notifications carry no data: a forged
or lost one costs a read or a poll interval. With a control plane that has no stream, the agent only polls.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from pipecd.client import Client
from pipecd.clock import Clock, timeout
from pipecd.errors import PipecdError, Unsupported
from pipecd.piped.session.lease import Leadership, Lease
from pipecd.piped.settings import WatchSettings
from pipecd.retry import Backoff
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class ChangeHandlers:
    """One handler per kind of change. `repository` gets the remote; empty means every repository."""

    applications: Callable[[], None]
    deployments: Callable[[], None]
    commands: Callable[[], None]
    events: Callable[[], None]
    repository: Callable[[str], None]
    #: Begins to answer a request.
    resource_request: Callable[[ResourceRequest], None]
    #: The answer to the request with this id is no longer needed; empty means any answer.
    request_cancelled: Callable[[str], None]

    def notify_all(self) -> None:
        """Call every handler: notifications may have been missed."""
        for handler in (self.applications, self.deployments, self.commands, self.events):
            handler()
        self.repository("")


_LEASES: Mapping[int, Lease] = {
    AgentChange.LEASE_GRANTED: Lease.GRANTED,
    AgentChange.LEASE_HELD: Lease.HELD,
    AgentChange.REVOKED: Lease.REVOKED,
}


async def watch(
    client: Client,
    instance: str,
    handlers: ChangeHandlers,
    leadership: Leadership,
    clock: Clock,
    settings: WatchSettings,
) -> None:
    """Keep the stream open. Runs until cancelled."""
    backoff = Backoff(settings.reconnect_retry)
    while True:
        try:
            request = AgentWatchRequest(instance=instance, answers_resource_requests=True)
            async with aclosing(client.stream(client.agent.Watch, request)) as stream:
                while True:
                    async with timeout(clock, settings.silence_timeout):
                        change = await anext(stream)
                    backoff.reset()
                    _dispatch(change, handlers, leadership)
        except Unsupported:
            log.info("watch_stream_unsupported", fallback="polling")
            leadership.set_lease(Lease.NOT_REQUIRED)
            await clock.sleep(settings.unsupported_interval)
        except (PipecdError, TimeoutError, StopAsyncIteration) as error:
            handlers.request_cancelled("")
            _handle_disconnect(leadership, error)
            await clock.sleep(backoff.next_delay())


def _dispatch(change: AgentChange, handlers: ChangeHandlers, leadership: Leadership) -> None:
    if change.kind in _LEASES:
        lease = _LEASES[change.kind]
        log.info("lease_changed", lease=lease.value)
        leadership.set_lease(lease)
        if lease is Lease.GRANTED:
            handlers.notify_all()
        return
    match change.kind:
        case AgentChange.COMMANDS:
            handlers.commands()
        case AgentChange.APPLICATIONS:
            handlers.applications()
        case AgentChange.DEPLOYMENTS:
            handlers.deployments()
        case AgentChange.EVENTS:
            handlers.events()
        case AgentChange.REPOSITORY:
            handlers.repository(change.remote)
        case AgentChange.RESOURCE_REQUEST:
            handlers.resource_request(change.resource_request)
        case AgentChange.RESOURCE_REQUEST_CANCELLED if change.id:
            handlers.request_cancelled(change.id)


def _handle_disconnect(leadership: Leadership, error: Exception) -> None:
    """A revoked or held lease stays so until the control plane announces another one."""
    log.warning("watch_stream_disconnected", error=str(error) or type(error).__name__)
    if not leadership.lease.must_stop:
        leadership.set_lease(Lease.UNKNOWN)

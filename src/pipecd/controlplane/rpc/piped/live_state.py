"""PipedService: what runs on the platform, as agents see it."""

from collections import defaultdict
from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records.live_state import CHANGED, apply_event
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.services import Plane
from pipecd.errors import NotFound
from pipecd.schema.agent.live_state_pb2 import (
    ReportApplicationLiveStateEventsRequest,
    ReportApplicationLiveStateEventsResponse,
    ReportApplicationLiveStateRequest,
    ReportApplicationLiveStateResponse,
)
from pipecd.schema.model.live_state_pb2 import KubernetesResourceStateEvent


async def report_live_state(
    plane: Plane, agent: Agent, request: ReportApplicationLiveStateRequest
) -> ReportApplicationLiveStateResponse:
    snapshot = request.snapshot
    await owned.application(plane, agent, snapshot.application_id)
    snapshot.piped_id, snapshot.project_id = agent.piped_id, agent.project_id
    await plane.blobs.put_live_state(snapshot)
    await _announce(plane, agent, snapshot.application_id)
    return ReportApplicationLiveStateResponse()


async def report_events(
    plane: Plane, agent: Agent, request: ReportApplicationLiveStateEventsRequest
) -> ReportApplicationLiveStateEventsResponse:
    """Events that fit no snapshot are dropped: the next snapshot tells the same."""
    by_application: dict[str, list[KubernetesResourceStateEvent]] = defaultdict(list)
    for event in request.kubernetes_events:
        by_application[event.application_id].append(event)
    for application_id, events in by_application.items():
        await owned.application(plane, agent, application_id)
        try:
            snapshot = await plane.blobs.live_state(application_id)
        except NotFound:
            continue
        changes = [apply_event(snapshot, event) for event in events]
        if any(changes):
            await plane.blobs.put_live_state(snapshot)
            await _announce(plane, agent, application_id)
    return ReportApplicationLiveStateEventsResponse()


async def _announce(plane: Plane, agent: Agent, application_id: str) -> None:
    """So that the console shows it at once."""
    await plane.store.announce(
        CHANGED, project_id=agent.project_id, id=application_id, piped_id=agent.piped_id
    )


HANDLERS: Mapping[str, Handler] = {
    "ReportApplicationLiveState": report_live_state,
    "ReportApplicationLiveStateEvents": report_events,
}

"""PipedService: live state of applications, as reported by agents."""

from collections import defaultdict
from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records.live_state import CHANGE_KIND, apply_events
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
from pipecd.errors import NotFound
from pipecd.schema.agent.live_state_pb2 import (
    ReportApplicationLiveStateEventsRequest,
    ReportApplicationLiveStateEventsResponse,
    ReportApplicationLiveStateRequest,
    ReportApplicationLiveStateResponse,
)
from pipecd.schema.model.live_state_pb2 import KubernetesResourceStateEvent


async def report_live_state(
    services: Services, agent: Agent, request: ReportApplicationLiveStateRequest
) -> ReportApplicationLiveStateResponse:
    snapshot = request.snapshot
    await ownership.get_application(services, agent, snapshot.application_id)
    snapshot.piped_id, snapshot.project_id = agent.piped_id, agent.project_id
    await services.blobs.put_live_state(snapshot)
    await _publish_change(services, agent, snapshot.application_id)
    return ReportApplicationLiveStateResponse()


async def report_events(
    services: Services, agent: Agent, request: ReportApplicationLiveStateEventsRequest
) -> ReportApplicationLiveStateEventsResponse:
    """Apply events to the stored snapshot.

    Those that cannot be applied, for example because there is no snapshot, are named in the response: the
    agent sends a snapshot then.
    """
    failed: list[str] = []
    by_application: dict[str, list[KubernetesResourceStateEvent]] = defaultdict(list)
    for event in request.kubernetes_events:
        by_application[event.application_id].append(event)
    for application_id, events in by_application.items():
        await ownership.get_application(services, agent, application_id)
        try:
            snapshot = await services.blobs.live_state(application_id)
        except NotFound:
            failed += [event.id for event in events]
            continue
        limit = services.settings.records.max_resources
        changed, refused = apply_events(snapshot, events, max_resources=limit)
        failed += refused
        if changed:
            await services.blobs.put_live_state(snapshot)
            await _publish_change(services, agent, application_id)
    return ReportApplicationLiveStateEventsResponse(failed_ids=failed)


async def _publish_change(services: Services, agent: Agent, application_id: str) -> None:
    """Notify the console, so that it shows the new state immediately."""
    await services.store.announce(
        CHANGE_KIND, project_id=agent.project_id, id=application_id, piped_id=agent.piped_id
    )


HANDLERS: Mapping[str, Handler] = {
    "ReportApplicationLiveState": report_live_state,
    "ReportApplicationLiveStateEvents": report_events,
}

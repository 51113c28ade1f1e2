"""PipedService: events for the event watcher, and their statuses."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.errors import NotFound, PermissionDenied
from pipecd.model.event import event_key
from pipecd.schema.agent.events_pb2 import (
    GetLatestEventRequest,
    GetLatestEventResponse,
    ListEventsRequest,
    ListEventsResponse,
    ListOrder,
    ReportEventStatusesRequest,
    ReportEventStatusesResponse,
)
from pipecd.schema.model.event_pb2 import Event, EventStatus

_STATUSES: Mapping[int, EventStatus.ValueType] = {
    ListEventsRequest.NOT_HANDLED: EventStatus.EVENT_NOT_HANDLED,
    ListEventsRequest.SUCCESS: EventStatus.EVENT_SUCCESS,
    ListEventsRequest.FAILURE: EventStatus.EVENT_FAILURE,
    ListEventsRequest.OUTDATED: EventStatus.EVENT_OUTDATED,
}


async def get_latest_event(
    services: Services, agent: Agent, request: GetLatestEventRequest
) -> GetLatestEventResponse:
    key = event_key(request.name, request.labels)
    event = await lists.latest_event(services.store, agent.project_id, request.name, key)
    if event is None:
        raise NotFound(f"no event {request.name} with these labels exists")
    return GetLatestEventResponse(event=event)


async def list_events(services: Services, agent: Agent, request: ListEventsRequest) -> ListEventsResponse:
    events = await lists.events_between(
        services.store,
        agent.project_id,
        begin=getattr(request, "from"),
        end=request.to,
        status=_STATUSES.get(request.status),
        newest_first=request.order == ListOrder.DESC,
    )
    return ListEventsResponse(events=events)


async def report_statuses(
    services: Services, agent: Agent, request: ReportEventStatusesRequest
) -> ReportEventStatusesResponse:
    for report in request.events:
        await services.store.update(Event, report.id, _status_change(services, agent, report), by=agent.actor)
    return ReportEventStatusesResponse()


def _status_change(services: Services, agent: Agent, report: ReportEventStatusesRequest.Event):  # type: ignore[no-untyped-def]
    def change(record: Event) -> None:
        if record.project_id != agent.project_id:
            raise PermissionDenied(f"event {record.id} does not belong to project {agent.project_id}")
        record.status = report.status
        record.status_description = report.status_description
        if report.status in (EventStatus.EVENT_SUCCESS, EventStatus.EVENT_FAILURE):
            record.handled_at = record.updated_at = services.now()

    return change


HANDLERS: Mapping[str, Handler] = {
    "GetLatestEvent": get_latest_event,
    "ListEvents": list_events,
    "ReportEventStatuses": report_statuses,
}

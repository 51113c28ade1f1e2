"""Reads events from the control plane, and reports what was done with them."""

from collections.abc import Sequence

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.model.event import Event, EventOutcome, EventResult
from pipecd.printable import printable
from pipecd.schema.agent.events_pb2 import ListEventsRequest, ListOrder, ReportEventStatusesRequest
from pipecd.schema.model.event_pb2 import Event as WireEvent
from pipecd.schema.model.event_pb2 import EventStatus

#: In characters.
MAX_MESSAGE_LENGTH = 2000
_STATUSES = {
    EventOutcome.SUCCESS: EventStatus.EVENT_SUCCESS,
    EventOutcome.FAILURE: EventStatus.EVENT_FAILURE,
    EventOutcome.OUTDATED: EventStatus.EVENT_OUTDATED,
}


class EventRecords:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def list_pending(self, max_age: float) -> Sequence[Event]:
        """Events that nobody handled yet, of the last 2 × `max_age` seconds: the older half is outdated."""
        request = ListEventsRequest(
            **{"from": int(self._clock.now() - 2 * max_age)},
            order=ListOrder.ASC,
            status=ListEventsRequest.NOT_HANDLED,
        )
        response = await self._client.call(self._client.piped.ListEvents, request)
        return [_event(event) for event in response.events]

    async def report(self, results: Sequence[tuple[str, EventResult]]) -> None:
        """The results of events, by the event's id."""
        request = ReportEventStatusesRequest(
            events=[
                ReportEventStatusesRequest.Event(
                    id=event_id,
                    status=_STATUSES[result.outcome],
                    status_description=printable(result.message)[:MAX_MESSAGE_LENGTH],
                )
                for event_id, result in results
            ]
        )
        await self._client.call(self._client.piped.ReportEventStatuses, request)


def _event(message: WireEvent) -> Event:
    return Event(
        id=message.id,
        name=message.name,
        data=message.data,
        labels=dict(message.labels),
        contexts=dict(message.contexts),
        trigger_commit=message.trigger_commit_hash,
        created_at=message.created_at,
    )

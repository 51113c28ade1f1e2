"""Reads events from the control plane, and reports what was done with them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.errors import Unsupported
from pipecd.model.event import Event, EventOutcome, EventResult
from pipecd.piped.events.watches import Watch
from pipecd.printable import printable
from pipecd.schema.agent.events_pb2 import ListEventsRequest, ListOrder, ReportEventStatusesRequest
from pipecd.schema.model.event_pb2 import Event as WireEvent
from pipecd.schema.model.event_pb2 import EventResult as WireResult
from pipecd.schema.model.event_pb2 import EventStatus
from pipecd.schema.pipecd.v1.agent_pb2 import ReportEventResultsRequest, ReportEventWatchersRequest

#: In characters.
MAX_MESSAGE_LENGTH, MAX_ID_LENGTH, MAX_NAME_LENGTH = 2000, 1000, 256
_STATUSES = {
    EventOutcome.SUCCESS: EventStatus.EVENT_SUCCESS,
    EventOutcome.FAILURE: EventStatus.EVENT_FAILURE,
    EventOutcome.OUTDATED: EventStatus.EVENT_OUTDATED,
}


@dataclass(frozen=True, kw_only=True)
class WatchResult:
    """What a watch did with an event. `name` is its owner's, `commit_url` the page of the commit."""

    event_id: str
    repo_id: str
    watch_id: str
    name: str
    result: EventResult
    commit_url: str


class EventRecords:
    def __init__(self, client: Client, clock: Clock, piped_id: str) -> None:
        self._client, self._clock, self._piped_id = client, clock, piped_id
        #: Whether the control plane stores a result per watch; PipeCD's has one status per event.
        self.has_results = True

    async def report_watches(self, repo_id: str, watches: Sequence[Watch]) -> None:
        """All watches of a repository. An event is handled once all watches that match it have a result."""
        request = ReportEventWatchersRequest(
            repo_id=repo_id[:MAX_NAME_LENGTH],
            watchers=[
                ReportEventWatchersRequest.Watcher(id=watch.id[-MAX_ID_LENGTH:], event_key=watch.key)
                for watch in watches
            ],
        )
        try:
            await self._client.call(self._client.agent.ReportEventWatchers, request)
        except Unsupported:
            self.has_results = False

    async def report_results(self, results: Sequence[WatchResult]) -> None:
        request = ReportEventResultsRequest(
            results=[
                ReportEventResultsRequest.Result(event_id=each.event_id, result=_wire_result(each))
                for each in results
            ]
        )
        await self._client.call(self._client.agent.ReportEventResults, request)

    async def list_pending(self, max_age: float) -> Sequence[Event]:
        """Events that were not handled yet, of the last 2 × `max_age` seconds: the older half is outdated."""
        request = ListEventsRequest(
            **{"from": int(self._clock.now() - 2 * max_age)},
            order=ListOrder.ASC,
            status=ListEventsRequest.NOT_HANDLED,
        )
        response = await self._client.call(self._client.piped.ListEvents, request)
        return [_event(event, self._piped_id) for event in response.events]

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


def _wire_result(each: WatchResult) -> WireResult:
    result = each.result
    return WireResult(
        repo_id=each.repo_id[:MAX_NAME_LENGTH],
        watcher=each.watch_id[-MAX_ID_LENGTH:],
        name=printable(each.name)[:MAX_NAME_LENGTH],
        status=_STATUSES[result.outcome],
        description=printable(result.message)[:MAX_MESSAGE_LENGTH],
        commit_hash=result.commit,
        commit_url=each.commit_url[:MAX_MESSAGE_LENGTH],
        branch=result.branch[:MAX_ID_LENGTH],
        pull_request_url=result.pull_request[:MAX_MESSAGE_LENGTH],
    )


def _event(message: WireEvent, piped_id: str) -> Event:
    return Event(
        id=message.id,
        name=message.name,
        data=message.data,
        labels=dict(message.labels),
        contexts=dict(message.contexts),
        trigger_commit=message.trigger_commit_hash,
        created_at=message.created_at,
        handled_by=frozenset(
            (result.repo_id, result.watcher) for result in message.results if result.piped_id == piped_id
        ),
    )

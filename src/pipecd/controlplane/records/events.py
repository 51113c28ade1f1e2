"""Results of events: each event watcher has its own, and together they are the status of the event.

PipeCD has one status per event, so that agents that watch the same event hide it from each other. Here an
event stays unhandled until every event watcher that agents reported has a result.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import structlog

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.kinds import EVENT_WATCHERS
from pipecd.errors import NotFound, PermissionDenied, Temporary
from pipecd.model.actor import Actor
from pipecd.schema.model.event_pb2 import Event, EventResult, EventStatus
from pipecd.schema.pipecd.v1.agent_pb2 import ReportEventResultsRequest, ReportEventWatchersRequest

log = structlog.get_logger()

#: Of one event; further ones replace no other and are left out.
MAX_RESULTS = 1000
#: In characters.
MAX_DESCRIPTION = 4000
#: Agent, repository and entry of a file.
Watcher = tuple[str, str, str]
#: Event key → the event watchers that handle its events.
Watchers = Mapping[str, frozenset[Watcher]]


async def replace_watchers(services: Services, agent: Agent, request: ReportEventWatchersRequest) -> None:
    request.piped_id = agent.piped_id
    row = hashlib.sha256(f"{agent.piped_id}/{request.repo_id}".encode()).hexdigest()
    data = request.SerializeToString(deterministic=True)
    await services.store.put_metadata(EVENT_WATCHERS, row, agent.project_id, data, by=agent.actor)


async def load_watchers(services: Services, project_id: str) -> Watchers:
    """The event watchers of the repositories that the project's enabled agents have."""
    repositories = {
        piped.id: {repository.id for repository in piped.repositories}
        for piped in await lists.pipeds(services.store, project_id, enabled=True)
    }
    watchers: dict[str, set[Watcher]] = {}
    for data, _ in (await services.store.list_metadata(EVENT_WATCHERS, project_id)).values():
        report = ReportEventWatchersRequest.FromString(data)
        if report.repo_id in repositories.get(report.piped_id, ()):
            for watcher in report.watchers:
                found = watchers.setdefault(watcher.event_key, set())
                found.add((report.piped_id, report.repo_id, watcher.id))
    return {key: frozenset(found) for key, found in watchers.items()}


async def report_results(services: Services, agent: Agent, request: ReportEventResultsRequest) -> None:
    """Add the results of the agent's event watchers; a later one replaces the earlier one."""
    watchers = await load_watchers(services, agent.project_id)
    by_event: dict[str, list[EventResult]] = {}
    for report in request.results:
        result = report.result
        result.piped_id, result.handled_at = agent.piped_id, services.now()
        by_event.setdefault(report.event_id, []).append(result)
    for event_id, results in by_event.items():
        await _add(services, agent, event_id, results, watchers)


async def _add(
    services: Services, agent: Agent, event_id: str, results: Sequence[EventResult], watchers: Watchers
) -> None:
    def change(event: Event) -> None:
        if event.project_id != agent.project_id:
            raise PermissionDenied(f"event {event.id} does not belong to project {agent.project_id}")
        known = {_watcher(result): result for result in event.results}
        known |= {_watcher(result): result for result in results}
        del event.results[:]
        event.results.extend(list(known.values())[:MAX_RESULTS])
        settle(event, watchers=watchers, now=services.now())

    try:
        await services.store.update(Event, event_id, change, by=agent.actor)
    except NotFound:
        # Deleted meanwhile: there is nothing to report to.
        return


def is_complete(event: Event, watchers: Watchers) -> bool:
    """Whether every event watcher that handles the event has a result."""
    done = {_watcher(result) for result in event.results}
    return bool(done) and watchers.get(event.event_key, frozenset()) <= done


def settle(event: Event, *, watchers: Watchers, now: int) -> None:
    """Set the status of an event that is complete."""
    if event.status == EventStatus.EVENT_NOT_HANDLED and is_complete(event, watchers):
        event.status, event.status_description = combine(event.results)
        event.handled_at = event.updated_at = now


def combine(results: Sequence[EventResult]) -> tuple[EventStatus.ValueType, str]:
    """Status and description of an event: a failure prevails, then a success."""
    for status in (EventStatus.EVENT_FAILURE, EventStatus.EVENT_SUCCESS, EventStatus.EVENT_OUTDATED):
        sentences = [result.description for result in results if result.status == status]
        if sentences:
            return status, "; ".join(dict.fromkeys(sentences))[:MAX_DESCRIPTION]
    return EventStatus.EVENT_OUTDATED, "No event watcher has a result"


def _watcher(result: EventResult) -> Watcher:
    return (result.piped_id, result.repo_id, result.watcher)


async def settle_all(services: Services, by: Actor) -> None:
    """Set the status of events whose missing event watchers are gone, and of those that are too old."""
    now = services.now()
    failures = 0
    async for events in _unhandled_events(services, until=now - SETTLED_AFTER):
        watchers = {
            project_id: await load_watchers(services, project_id)
            for project_id in {event.project_id for event in events if event.results}
        }
        for event in events:
            if event.created_at < now - LIFETIME:
                change = partial(_end, now=now)
            elif event.results and is_complete(event, watchers[event.project_id]):
                change = partial(settle, watchers=watchers[event.project_id], now=now)
            else:
                continue
            try:
                await services.store.update(Event, event.id, change, by=by)
            except NotFound:
                # Deleted meanwhile.
                continue
            except Temporary as error:
                # It is tried again in the next run, and delays no other event.
                failures += 1
                log.warning("event_not_settled", event_id=event.id, error=str(error))
                if failures == services.settings.records.max_event_failures:
                    raise


async def _unhandled_events(services: Services, *, until: int) -> AsyncIterator[Sequence[Event]]:
    """In batches: events that no agent handles stay for days, and must not hide later ones."""
    after, settings = (0, ""), services.settings.records
    for _ in range(settings.max_event_batches):
        events = await lists.unhandled_events(
            services.store, until=until, limit=settings.event_batch_size, after=after
        )
        if not events:
            return
        yield events
        after = (events[-1].created_at, events[-1].id)


def _end(event: Event, *, now: int) -> None:
    if event.status != EventStatus.EVENT_NOT_HANDLED:
        return
    if event.results:
        event.status, event.status_description = combine(event.results)
    else:
        event.status = EventStatus.EVENT_OUTDATED
        event.status_description = f"No piped handled it within {LIFETIME // 86_400} days"
    event.handled_at = event.updated_at = now


#: An event without a final status ends at this age; it is examined for missing event watchers from the other
#: age on (seconds).
LIFETIME, SETTLED_AFTER = 7 * 86_400, 60

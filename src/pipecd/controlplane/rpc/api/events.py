"""APIService: events, and the traces that link a source commit to its deployments."""

from collections.abc import Mapping
from uuid import UUID, uuid4

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.model.event import event_key
from pipecd.schema.api.events_pb2 import RegisterEventRequest, RegisterEventResponse
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.trace_pb2 import DeploymentTrace


def time_ordered_id(seconds: float) -> str:
    """A UUID of version 7 (RFC 9562) for the time `seconds` since the epoch.

    The times of events are whole seconds; of those in one second, the last is the one with the greatest id.
    """
    random = uuid4().int & ((1 << 74) - 1)
    high, low = random >> 62, random & ((1 << 62) - 1)
    return str(UUID(int=int(seconds * 1000) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


async def register(
    services: Services, program: Program, request: RegisterEventRequest
) -> RegisterEventResponse:
    now = services.now()
    event = Event(
        id=time_ordered_id(services.clock.now()),
        name=request.name,
        data=request.data,
        project_id=program.project_id,
        labels=request.labels,
        event_key=event_key(request.name, request.labels),
        contexts=request.contexts,
        trigger_commit_hash=request.commit_hash,
        status_description=f"It is going to be replaced by {request.data}",
        created_at=now,
        updated_at=now,
    )
    await services.store.create(event, by=program.actor)
    if request.commit_hash and request.commit_url:
        await services.store.create(
            DeploymentTrace(
                id=str(uuid4()),
                project_id=program.project_id,
                title=request.commit_title,
                commit_message=request.commit_message,
                commit_hash=request.commit_hash,
                commit_url=request.commit_url,
                commit_timestamp=request.commit_timestamp or now,
                author=request.commit_author,
                created_at=now,
                updated_at=now,
            ),
            by=program.actor,
        )
    return RegisterEventResponse(event_id=event.id)


HANDLERS: Mapping[str, Handler] = {"RegisterEvent": register}

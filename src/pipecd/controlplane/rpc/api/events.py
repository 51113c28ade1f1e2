"""APIService: events, and the traces that lead from a source commit to deployments."""

from collections.abc import Mapping
from uuid import uuid4

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records.events import event_key
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.schema.api.events_pb2 import RegisterEventRequest, RegisterEventResponse
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.trace_pb2 import DeploymentTrace


async def register(plane: Plane, program: Program, request: RegisterEventRequest) -> RegisterEventResponse:
    now = plane.now()
    made = Event(
        id=str(uuid4()),
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
    await plane.store.create(made)
    if request.commit_hash and request.commit_url:
        await plane.store.create(
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
            )
        )
    return RegisterEventResponse(event_id=made.id)


HANDLERS: Mapping[str, Handler] = {"RegisterEvent": register}

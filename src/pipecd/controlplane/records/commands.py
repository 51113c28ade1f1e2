"""Commands: what people and programs ask of an agent. Made here, stored once, told to the agent at once."""

from typing import Any
from uuid import uuid4

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.services import Plane
from pipecd.schema.model.command_pb2 import Command


async def order(plane: Plane, caller: Caller, piped_id: str, application_id: str = "", **payload: Any) -> str:
    """Store a command for `piped_id` and return its id.

    `payload` is the one sub-message it carries, such as `sync_application=…`; the ids it names are
    repeated on the command, where lists are filtered by them.
    """
    command = new(caller.project_id, piped_id, caller.name, plane.now(), **payload)
    command.application_id = command.application_id or application_id
    await plane.store.create(command)
    return command.id


def new(project_id: str, piped_id: str, commander: str, now: int, **payload: Any) -> Command:
    ((member, message),) = payload.items()
    return Command(
        id=str(uuid4()),
        project_id=project_id,
        piped_id=piped_id,
        application_id=getattr(message, "application_id", ""),
        deployment_id=getattr(message, "deployment_id", ""),
        stage_id=getattr(message, "stage_id", ""),
        commander=commander,
        type=Command.Type.Value(member.upper()),
        created_at=now,
        updated_at=now,
        **payload,
    )

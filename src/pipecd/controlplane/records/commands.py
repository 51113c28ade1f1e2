"""Creates commands, which users and API clients send to agents. The change feed notifies the agent."""

from typing import Any
from uuid import uuid4

from pipecd import tracing
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.services import Services
from pipecd.schema.model.command_pb2 import Command

_IDENTIFYING = frozenset({"approve_stage", "skip_stage"})


async def create(
    services: Services, caller: Caller, piped_id: str, application_id: str = "", **payload: Any
) -> str:
    """Store a command for the agent `piped_id` and return the command's ID.

    `payload` is the one sub-message of the command, such as `sync_application=…`; the IDs in it are copied to
    the command itself, because lists are filtered by them.
    """
    # Agents compare who approves with the approvers, and count each once; the rest is for people.
    commander = caller.name if _IDENTIFYING & payload.keys() else caller.shown_name
    command = build(caller.project_id, piped_id, commander, services.now(), **payload)
    command.application_id = command.application_id or application_id
    await services.store.create(command, by=caller.actor)
    return command.id


def build(project_id: str, piped_id: str, commander: str, now: int, **payload: Any) -> Command:
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
        trace_parent=tracing.current(),
        **payload,
    )

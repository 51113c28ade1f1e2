"""PipedService: list the commands for an agent, and report their results."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import pins
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.errors import Conflict, Refused
from pipecd.schema.agent.commands_pb2 import (
    ListUnhandledCommandsRequest,
    ListUnhandledCommandsResponse,
    ReportCommandHandledRequest,
    ReportCommandHandledResponse,
)
from pipecd.schema.model.command_pb2 import Command, CommandStatus


async def list_unhandled(
    services: Services, agent: Agent, _: ListUnhandledCommandsRequest
) -> ListUnhandledCommandsResponse:
    commands = await lists.unhandled_commands(services.store, agent.project_id, agent.piped_id)
    return ListUnhandledCommandsResponse(commands=commands)


async def report_handled(
    services: Services, agent: Agent, request: ReportCommandHandledRequest
) -> ReportCommandHandledResponse:
    if request.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
        raise Refused("the status of a handled command must be SUCCEEDED, FAILED or TIMEOUT")
    command = (await services.store.get(Command, request.command_id)).message
    ownership.check_command(agent, command)
    if request.output and command.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
        # Before the status: clients read the output once they see that the command was handled.
        await services.blobs.write_command_output(command.id, request.output)

    def change(record: Command) -> None:
        ownership.check_command(agent, record)
        _set_handled(record, request, services.now())

    updated = await services.store.update(Command, command.id, change, by=agent.actor, detail=BY_AGENT)
    await pins.end_rollback(services, updated.message, agent.actor)
    return ReportCommandHandledResponse()


def _set_handled(record: Command, request: ReportCommandHandledRequest, now: int) -> None:
    """Store the result. The first result is final; reporting the same status again is not a conflict."""
    if record.status == request.status:
        return
    if record.status != CommandStatus.COMMAND_NOT_HANDLED_YET:
        raise Conflict(
            f"command {record.id} is {CommandStatus.Name(record.status)} and cannot become"
            f" {CommandStatus.Name(request.status)}"
        )
    record.status = request.status
    record.metadata.clear()
    record.metadata.update(request.metadata)
    record.handled_at = request.handled_at
    record.updated_at = now


HANDLERS: Mapping[str, Handler] = {
    "ListUnhandledCommands": list_unhandled,
    "ReportCommandHandled": report_handled,
}

"""PipedService: commands an agent has to carry out, and what became of them."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import owned
from pipecd.controlplane.services import Plane
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
    plane: Plane, agent: Agent, _: ListUnhandledCommandsRequest
) -> ListUnhandledCommandsResponse:
    found = await lists.unhandled_commands(plane.store, agent.project_id, agent.piped_id)
    return ListUnhandledCommandsResponse(commands=found)


async def report_handled(
    plane: Plane, agent: Agent, request: ReportCommandHandledRequest
) -> ReportCommandHandledResponse:
    if request.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
        raise Refused("a handled command is SUCCEEDED, FAILED or TIMEOUT")
    command = (await plane.store.get(Command, request.command_id)).message
    owned.check_command(agent, command)
    if request.output:
        await plane.blobs.write_command_output(command.id, request.output)

    def change(record: Command) -> None:
        owned.check_command(agent, record)
        _handle(record, request, plane.now())

    await plane.store.update(Command, command.id, change, BY_AGENT)
    return ReportCommandHandledResponse()


def _handle(record: Command, request: ReportCommandHandledRequest, now: int) -> None:
    """Handled once: the first answer stays, the same answer again is no conflict."""
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

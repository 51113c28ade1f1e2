"""Ends commands that no agent handled for a day: whoever asked gets an answer."""

from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.schema.model.command_pb2 import Command, CommandStatus

#: Seconds.
LIFETIME = 24 * 3600


async def run(plane: Plane) -> None:
    now = plane.now()

    def expire(record: Command) -> None:
        if record.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
            record.status = CommandStatus.COMMAND_TIMEOUT
            record.handled_at = record.updated_at = now

    for command in await lists.overdue_commands(plane.store, now - LIFETIME):
        await plane.store.update(Command, command.id, expire)

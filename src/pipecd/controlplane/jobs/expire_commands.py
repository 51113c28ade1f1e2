"""Times out commands that no agent handled within a day, so that callers waiting for them get a result."""

from pipecd.controlplane.records import pins
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.model.actor import Actor
from pipecd.schema.model.command_pb2 import Command, CommandStatus

#: Age at which an unhandled command times out, in seconds.
LIFETIME = 24 * 3600


async def run(services: Services, by: Actor) -> None:
    now = services.now()

    def expire(record: Command) -> None:
        if record.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
            record.status = CommandStatus.COMMAND_TIMEOUT
            record.handled_at = record.updated_at = now

    for command in await lists.overdue_commands(services.store, now - LIFETIME):
        updated = await services.store.update(Command, command.id, expire, by=by)
        await pins.end_rollback(services, updated.message, by)

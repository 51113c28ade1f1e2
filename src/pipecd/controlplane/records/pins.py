"""Pins an application to a commit that was deployed before, and removes the pin.

A rollback is one write: the pin, and the command for the agent. The agent then triggers no deployment for a
commit, for drift or for a chain. If it cannot roll back, the pin is removed again.
"""

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands, ownership
from pipecd.controlplane.records.pipeds import PACKAGE
from pipecd.controlplane.services import Services
from pipecd.errors import Conflict, NotFound, Refused
from pipecd.model.actor import Actor
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.strategy_pb2 import SyncStrategy
from pipecd.schema.pipecd.v1.pin_pb2 import ApplicationPin

_UNSUCCESSFUL = (CommandStatus.COMMAND_FAILED, CommandStatus.COMMAND_TIMEOUT)


async def roll_back_to(
    services: Services,
    caller: Caller,
    deployment_id: str,
    *,
    reason: str,
    until: int,
    strategy: SyncStrategy.ValueType,
) -> str:
    """Pin the application until `until` (epoch seconds; 0: until removed), and send its agent a command.

    Returns the command's ID.
    """
    target = await ownership.get(services, caller, Deployment, deployment_id)
    application = await ownership.get(services, caller, Application, target.application_id)
    if target.status != DeploymentStatus.DEPLOYMENT_SUCCESS:
        raise Conflict(f"deployment {deployment_id} did not succeed; select one that did")
    if until and until <= services.now():
        raise Refused("the time at which the pin ends has passed; select a later one")
    await _check_agent(services, caller, application.piped_id)
    payload = Command.RollBackApplication(
        application_id=application.id,
        target_deployment_id=target.id,
        sync_strategy=strategy,
        reason=reason.strip(),
    )
    now = services.now()
    command = commands.build(
        caller.project_id, application.piped_id, caller.shown_name, now, roll_back_application=payload
    )
    pin = ApplicationPin(
        commit_hash=target.trigger.commit.hash,
        deployment_id=target.id,
        by=caller.shown_name,
        reason=reason.strip(),
        until=until,
        created_at=now,
        command_id=command.id,
    )

    def alter(record: Application) -> None:
        ownership.check(caller, record)
        if record.deleted or record.disabled:
            state = "deleted" if record.deleted else "disabled"
            raise Conflict(f"application {record.name} is {state} and cannot be rolled back")
        record.pin.CopyFrom(pin)
        record.updated_at = now

    await services.store.update(Application, application.id, alter, by=caller.actor, creating=[command])
    return command.id


async def unpin(services: Services, caller: Caller, application_id: str) -> None:
    record = await ownership.get(services, caller, Application, application_id)
    if record.HasField("pin"):
        await ownership.change(
            services, caller, Application, application_id, lambda record: record.ClearField("pin")
        )


async def end_rollback(services: Services, command: Command, by: Actor) -> None:
    """Remove the pin of a rollback that was not done. Called when a command got its result."""
    if command.type != Command.ROLL_BACK_APPLICATION or command.status not in _UNSUCCESSFUL:
        return

    def alter(record: Application) -> None:
        if record.pin.command_id == command.id:
            record.ClearField("pin")
            record.updated_at = services.now()

    try:
        await services.store.update(Application, command.application_id, alter, by=by)
    except NotFound:
        return


def check_unpinned(application: Application, now: int) -> None:
    """Raises Conflict for a sync of a pinned application: it would deploy what the pin keeps away."""
    pin = application.pin
    if application.HasField("pin") and (pin.until == 0 or now < pin.until):
        raise Conflict(
            f"application {application.name} is pinned to commit {pin.commit_hash[:7]} by {pin.by};"
            " remove the pin first"
        )


async def _check_agent(services: Services, caller: Caller, piped_id: str) -> None:
    piped = await ownership.get(services, caller, Piped, piped_id)
    if piped.version and piped.package != PACKAGE:
        raise Conflict(
            f"piped {piped.name} is PipeCD's, which deploys only the newest commit; revert the commit in"
            " Git, or run this project's piped"
        )

"""Calls that APIService and WebService have in common: one handler for both.

The requests of such a call have the same fields; the responses differ in that some of WebService's are empty.
A handler returns the fields of the response, and `handlers` builds the service's own response from those
that it has. Calls whose meaning differs, such as the lists, are in `api` and `web`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import applications, ownership, pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.errors import PermissionDenied
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.strategy_pb2 import SyncStrategy

Fields = Mapping[str, Any]
#: `async def (services, caller, request) -> fields of the response`.
SharedHandler = Callable[[Services, Caller, Any], Awaitable[Fields]]


async def add_application(services: Services, caller: Caller, request: Any) -> Fields:
    application_id = await applications.add(
        services,
        caller,
        name=request.name,
        piped_id=request.piped_id,
        git_path=request.git_path,
        kind=request.kind,
        platform_provider=request.platform_provider,
        description=request.description,
        labels=request.labels,
        # Only WebService's request has them.
        deploy_targets=getattr(request, "deploy_targets_by_plugin", {}),
    )
    return {"application_id": application_id}


async def sync_application(services: Services, caller: Caller, request: Any) -> Fields:
    # Only WebService's request has a strategy.
    strategy: SyncStrategy.ValueType = getattr(request, "sync_strategy", SyncStrategy.AUTO)
    return {"command_id": await applications.sync(services, caller, request.application_id, strategy)}


def change_application(change: Callable[[Services, Caller, str], Awaitable[None]]) -> SharedHandler:
    """A handler that applies `change` to the application with the request's ID."""

    async def handle(services: Services, caller: Caller, request: Any) -> Fields:
        await change(services, caller, request.application_id)
        return {"application_id": request.application_id}

    return handle


def get(kind: type[Message]) -> SharedHandler:
    """A handler that returns the record of `kind` with the request's ID."""
    name = kind.DESCRIPTOR.name.lower()

    async def handle(services: Services, caller: Caller, request: Any) -> Fields:
        return {name: await ownership.get(services, caller, kind, getattr(request, f"{name}_id"))}

    return handle


async def get_command(services: Services, caller: Caller, request: Any) -> Fields:
    command = await ownership.get(services, caller, Command, request.command_id)
    if not await ownership.includes_command(services, caller, command):
        raise PermissionDenied(f"the roles of {caller.name} do not include the application of this command")
    return {"command": command}


async def get_piped(services: Services, caller: Caller, request: Any) -> Fields:
    piped = await ownership.get(services, caller, Piped, request.piped_id)
    (with_status,) = await pipeds.with_status(services, caller.project_id, [piped])
    return {"piped": ownership.hide_in_piped(caller, with_status)}


async def register_piped(services: Services, caller: Caller, request: Any) -> Fields:
    piped_id, key = await pipeds.register(
        services, caller, request.name, request.desc, caller.actor.name, request.key_lifetime
    )
    return {"id": piped_id, "key": key}


async def update_piped(services: Services, caller: Caller, request: Any) -> Fields:
    def alter(record: Piped) -> None:
        record.name, record.desc = request.name, request.desc

    await pipeds.change(services, caller, request.piped_id, alter)
    return {}


def set_piped_disabled(*, disabled: bool) -> SharedHandler:
    async def handle(services: Services, caller: Caller, request: Any) -> Fields:
        await pipeds.set_disabled(services, caller, request.piped_id, disabled=disabled)
        return {}

    return handle


SHARED: Mapping[str, SharedHandler] = {
    "AddApplication": add_application,
    "SyncApplication": sync_application,
    "GetApplication": get(Application),
    "EnableApplication": change_application(applications.enable),
    "DisableApplication": change_application(applications.disable),
    "DeleteApplication": change_application(applications.delete),
    "GetDeployment": get(Deployment),
    "GetCommand": get_command,
    "GetPiped": get_piped,
    "RegisterPiped": register_piped,
    "UpdatePiped": update_piped,
    "EnablePiped": set_piped_disabled(disabled=False),
    "DisablePiped": set_piped_disabled(disabled=True),
}


def handlers(service: ServiceDescriptor) -> Mapping[str, Handler]:
    """The handlers of SHARED for `service`, which must have all of these calls."""
    return {
        name: _respond(handler, GetMessageClass(service.methods_by_name[name].output_type))
        for name, handler in SHARED.items()
    }


def _respond(handler: SharedHandler, response: type[Message]) -> Handler:
    known = response.DESCRIPTOR.fields_by_name

    async def handle(services: Services, caller: Caller, request: Message) -> Message:
        fields = await handler(services, caller, request)
        return response(**{name: value for name, value in fields.items() if name in known})

    return handle

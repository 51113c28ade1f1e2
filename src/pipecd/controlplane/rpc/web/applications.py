"""WebService: applications, what agents suggest, and secrets sealed for them."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records import applications, ownership, pipeds, suggestions
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.web.applications_pb2 import (
    AddApplicationRequest,
    AddApplicationResponse,
    DeleteApplicationRequest,
    DeleteApplicationResponse,
    DisableApplicationRequest,
    DisableApplicationResponse,
    EnableApplicationRequest,
    EnableApplicationResponse,
    GenerateApplicationSealedSecretRequest,
    GenerateApplicationSealedSecretResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    ListUnregisteredApplicationsRequest,
    ListUnregisteredApplicationsResponse,
    SyncApplicationRequest,
    SyncApplicationResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from pipecd.schema.web.live_state_pb2 import GetApplicationLiveStateRequest, GetApplicationLiveStateResponse


async def add(plane: Plane, person: Person, request: AddApplicationRequest) -> AddApplicationResponse:
    made = await applications.add(
        plane,
        person,
        name=request.name,
        piped_id=request.piped_id,
        git_path=request.git_path,
        kind=request.kind,
        platform_provider=request.platform_provider,
        description=request.description,
        labels=request.labels,
        deploy_targets=request.deploy_targets_by_plugin,
    )
    return AddApplicationResponse(application_id=made)


async def update(
    plane: Plane, person: Person, request: UpdateApplicationRequest
) -> UpdateApplicationResponse:
    await ownership.get(plane, person, Piped, request.piped_id)

    def alter(record: Application) -> None:
        record.name, record.piped_id, record.kind = request.name, request.piped_id, request.kind
        record.platform_provider = record.cloud_provider = request.platform_provider
        record.deploy_targets_by_plugin.clear()
        for plugin, targets in request.deploy_targets_by_plugin.items():
            record.deploy_targets_by_plugin[plugin].CopyFrom(targets)
        if request.config_filename:
            record.git_path.config_filename = request.config_filename

    await applications.change(plane, person, request.application_id, alter)
    return UpdateApplicationResponse()


async def enable(
    plane: Plane, person: Person, request: EnableApplicationRequest
) -> EnableApplicationResponse:
    await applications.enable(plane, person, request.application_id)
    return EnableApplicationResponse()


async def disable(
    plane: Plane, person: Person, request: DisableApplicationRequest
) -> DisableApplicationResponse:
    await applications.disable(plane, person, request.application_id)
    return DisableApplicationResponse()


async def delete(
    plane: Plane, person: Person, request: DeleteApplicationRequest
) -> DeleteApplicationResponse:
    await applications.delete(plane, person, request.application_id)
    return DeleteApplicationResponse()


async def list_applications(
    plane: Plane, person: Person, request: ListApplicationsRequest
) -> ListApplicationsResponse:
    options = request.options
    wanted = ApplicationFilter(
        name=options.name,
        kinds=options.kinds,
        sync_statuses=options.sync_statuses,
        piped_id=options.piped_id,
        labels=options.labels,
        enabled=options.enabled.value if options.HasField("enabled") else None,
    )
    found = await lists.all_applications(plane.store, person.project_id, wanted)
    newest_first = sorted(found, key=lambda one: (-one.updated_at, one.id))
    return ListApplicationsResponse(applications=newest_first)


async def sync(plane: Plane, person: Person, request: SyncApplicationRequest) -> SyncApplicationResponse:
    command = await applications.sync(plane, person, request.application_id, request.sync_strategy)
    return SyncApplicationResponse(command_id=command)


async def get(plane: Plane, person: Person, request: GetApplicationRequest) -> GetApplicationResponse:
    found = await ownership.get(plane, person, Application, request.application_id)
    return GetApplicationResponse(application=found)


async def list_unregistered(
    plane: Plane, person: Person, _: ListUnregisteredApplicationsRequest
) -> ListUnregisteredApplicationsResponse:
    found = await suggestions.of_project(plane.store, person.project_id)
    return ListUnregisteredApplicationsResponse(applications=found)


async def generate_sealed_secret(
    plane: Plane, person: Person, request: GenerateApplicationSealedSecretRequest
) -> GenerateApplicationSealedSecretResponse:
    sealed = await pipeds.sealed(
        plane, person, request.piped_id, request.data, in_base64=request.base64_encoding
    )
    return GenerateApplicationSealedSecretResponse(data=sealed)


async def get_live_state(
    plane: Plane, person: Person, request: GetApplicationLiveStateRequest
) -> GetApplicationLiveStateResponse:
    await ownership.get(plane, person, Application, request.application_id)
    snapshot = await plane.blobs.live_state(request.application_id)
    return GetApplicationLiveStateResponse(snapshot=snapshot)


HANDLERS: Mapping[str, Handler] = {
    "AddApplication": add,
    "UpdateApplication": update,
    "EnableApplication": enable,
    "DisableApplication": disable,
    "DeleteApplication": delete,
    "ListApplications": list_applications,
    "SyncApplication": sync,
    "GetApplication": get,
    "ListUnregisteredApplications": list_unregistered,
    "GenerateApplicationSealedSecret": generate_sealed_secret,
    "GetApplicationLiveState": get_live_state,
}

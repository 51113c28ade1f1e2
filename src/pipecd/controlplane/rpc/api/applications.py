"""APIService: applications."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import applications, ownership
from pipecd.controlplane.records.enum_names import kinds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter, Paging
from pipecd.errors import PermissionDenied
from pipecd.schema.api.applications_pb2 import (
    AddApplicationRequest,
    AddApplicationResponse,
    DeleteApplicationRequest,
    DeleteApplicationResponse,
    DisableApplicationRequest,
    DisableApplicationResponse,
    EnableApplicationRequest,
    EnableApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    RenameApplicationConfigFileRequest,
    RenameApplicationConfigFileResponse,
    SyncApplicationRequest,
    SyncApplicationResponse,
    UpdateApplicationDeployTargetsRequest,
    UpdateApplicationDeployTargetsResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.piped_pb2 import Piped


async def add(plane: Plane, program: Program, request: AddApplicationRequest) -> AddApplicationResponse:
    made = await applications.add(
        plane,
        program,
        name=request.name,
        piped_id=request.piped_id,
        git_path=request.git_path,
        kind=request.kind,
        platform_provider=request.platform_provider,
        description=request.description,
        labels=request.labels,
        deploy_targets={},
    )
    return AddApplicationResponse(application_id=made)


async def get(plane: Plane, program: Program, request: GetApplicationRequest) -> GetApplicationResponse:
    found = await ownership.get(plane, program, Application, request.application_id)
    return GetApplicationResponse(application=found)


async def list_applications(
    plane: Plane, program: Program, request: ListApplicationsRequest
) -> ListApplicationsResponse:
    """Without a limit, all of them. Deleted ones are listed among the disabled."""
    wanted = ApplicationFilter(
        name=request.name,
        kinds=kinds([request.kind]) if request.kind else (),
        piped_id=request.piped_id,
        labels=request.labels,
        enabled=not request.disabled,
        deleted=None if request.disabled else False,
    )
    if request.limit <= 0 and not request.cursor:
        found = await lists.all_applications(plane.store, program.project_id, wanted)
        newest_first = sorted(found, key=lambda one: (-one.updated_at, one.id))
        return ListApplicationsResponse(applications=newest_first)
    paging = Paging(size=min(request.limit, lists.LARGEST_PAGE), cursor=request.cursor)
    page = await lists.applications(plane.store, program.project_id, wanted, paging)
    return ListApplicationsResponse(applications=page.records, cursor=page.cursor)


async def update(
    plane: Plane, program: Program, request: UpdateApplicationRequest
) -> UpdateApplicationResponse:
    await ownership.get(plane, program, Piped, request.piped_id)

    def alter(record: Application) -> None:
        record.piped_id = request.piped_id
        record.platform_provider = record.cloud_provider = request.platform_provider
        record.deploy_targets_by_plugin.clear()
        if request.git_path.config_filename:
            record.git_path.config_filename = request.git_path.config_filename

    await applications.change(plane, program, request.application_id, alter)
    return UpdateApplicationResponse(application_id=request.application_id)


async def delete(
    plane: Plane, program: Program, request: DeleteApplicationRequest
) -> DeleteApplicationResponse:
    await applications.delete(plane, program, request.application_id)
    return DeleteApplicationResponse(application_id=request.application_id)


async def enable(
    plane: Plane, program: Program, request: EnableApplicationRequest
) -> EnableApplicationResponse:
    await applications.enable(plane, program, request.application_id)
    return EnableApplicationResponse(application_id=request.application_id)


async def disable(
    plane: Plane, program: Program, request: DisableApplicationRequest
) -> DisableApplicationResponse:
    await applications.disable(plane, program, request.application_id)
    return DisableApplicationResponse(application_id=request.application_id)


async def rename_config_file(
    plane: Plane, program: Program, request: RenameApplicationConfigFileRequest
) -> RenameApplicationConfigFileResponse:
    """All of them or none, as far as whose they are."""
    for application_id in request.application_ids:
        await ownership.get(plane, program, Application, application_id, PermissionDenied)

    def alter(record: Application) -> None:
        record.git_path.config_filename = request.new_filename

    for application_id in request.application_ids:
        await applications.change(plane, program, application_id, alter, PermissionDenied)
    return RenameApplicationConfigFileResponse()


async def update_deploy_targets(
    plane: Plane, program: Program, request: UpdateApplicationDeployTargetsRequest
) -> UpdateApplicationDeployTargetsResponse:
    def alter(record: Application) -> None:
        record.deploy_targets_by_plugin.clear()
        for plugin, targets in request.deploy_targets_by_plugin.items():
            record.deploy_targets_by_plugin[plugin].CopyFrom(targets)

    await applications.change(plane, program, request.application_id, alter, PermissionDenied)
    return UpdateApplicationDeployTargetsResponse()


async def sync(plane: Plane, program: Program, request: SyncApplicationRequest) -> SyncApplicationResponse:
    command = await applications.sync(plane, program, request.application_id)
    return SyncApplicationResponse(command_id=command)


HANDLERS: Mapping[str, Handler] = {
    "AddApplication": add,
    "GetApplication": get,
    "ListApplications": list_applications,
    "UpdateApplication": update,
    "DeleteApplication": delete,
    "EnableApplication": enable,
    "DisableApplication": disable,
    "RenameApplicationConfigFile": rename_config_file,
    "UpdateApplicationDeployTargets": update_deploy_targets,
    "SyncApplication": sync,
}

"""APIService: applications."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import applications, ownership
from pipecd.controlplane.records.kinds import check_kinds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter, Paging
from pipecd.errors import PermissionDenied
from pipecd.schema.api.applications_pb2 import (
    ListApplicationsRequest,
    ListApplicationsResponse,
    RenameApplicationConfigFileRequest,
    RenameApplicationConfigFileResponse,
    UpdateApplicationDeployTargetsRequest,
    UpdateApplicationDeployTargetsResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.piped_pb2 import Piped


async def list_applications(
    services: Services, program: Program, request: ListApplicationsRequest
) -> ListApplicationsResponse:
    """Without a limit, list all. Deleted applications are listed with the disabled ones.

    `kind` is one kind, as PipeCD's clients send it, or several, separated by commas.
    """
    kinds = list(dict.fromkeys(kind for kind in request.kind.split(",") if kind))
    criteria = ApplicationFilter(
        name=request.name,
        kinds=await check_kinds(services.store, program.project_id, kinds),
        piped_id=request.piped_id,
        labels=request.labels,
        enabled=not request.disabled,
        deleted=None if request.disabled else False,
    )
    if request.limit <= 0 and not request.cursor:
        records = await lists.all_applications(services.store, program.project_id, criteria)
        newest_first = sorted(records, key=lambda record: (-record.updated_at, record.id))
        return ListApplicationsResponse(applications=newest_first)
    paging = Paging(size=min(request.limit, lists.MAX_PAGE_SIZE), cursor=request.cursor)
    page = await lists.applications(services.store, program.project_id, criteria, paging)
    return ListApplicationsResponse(applications=page.records, cursor=page.cursor)


async def update(
    services: Services, program: Program, request: UpdateApplicationRequest
) -> UpdateApplicationResponse:
    await ownership.get(services, program, Piped, request.piped_id)

    def alter(record: Application) -> None:
        record.piped_id = request.piped_id
        applications.set_provider(record, request.platform_provider)
        if request.git_path.config_filename:
            record.git_path.config_filename = request.git_path.config_filename

    await applications.change(services, program, request.application_id, alter)
    return UpdateApplicationResponse(application_id=request.application_id)


async def rename_config_file(
    services: Services, program: Program, request: RenameApplicationConfigFileRequest
) -> RenameApplicationConfigFileResponse:
    """Rename the config file of every application, or of none if the project does not own them all."""
    for application_id in request.application_ids:
        await ownership.get(services, program, Application, application_id, PermissionDenied)

    def alter(record: Application) -> None:
        record.git_path.config_filename = request.new_filename

    for application_id in request.application_ids:
        await applications.change(services, program, application_id, alter, PermissionDenied)
    return RenameApplicationConfigFileResponse()


async def update_deploy_targets(
    services: Services, program: Program, request: UpdateApplicationDeployTargetsRequest
) -> UpdateApplicationDeployTargetsResponse:
    def alter(record: Application) -> None:
        applications.set_deploy_targets(record, request.deploy_targets_by_plugin)

    await applications.change(services, program, request.application_id, alter, PermissionDenied)
    return UpdateApplicationDeployTargetsResponse()


HANDLERS: Mapping[str, Handler] = {
    "ListApplications": list_applications,
    "UpdateApplication": update,
    "RenameApplicationConfigFile": rename_config_file,
    "UpdateApplicationDeployTargets": update_deploy_targets,
}

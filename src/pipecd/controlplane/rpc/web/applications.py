"""WebService: applications, unregistered applications, live state, and encryption of secrets."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records import applications, ownership, pipeds, suggestions
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import ApplicationFilter
from pipecd.model.access import Resource
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.web.applications_pb2 import (
    GenerateApplicationSealedSecretRequest,
    GenerateApplicationSealedSecretResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    ListUnregisteredApplicationsRequest,
    ListUnregisteredApplicationsResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from pipecd.schema.web.live_state_pb2 import GetApplicationLiveStateRequest, GetApplicationLiveStateResponse
from pipecd.wire import has_number, kind_name


async def update(
    services: Services, person: Person, request: UpdateApplicationRequest
) -> UpdateApplicationResponse:
    await ownership.get(services, person, Piped, request.piped_id)

    def alter(record: Application) -> None:
        record.name, record.piped_id, record.kind = request.name, request.piped_id, request.kind
        record.platform_provider = record.cloud_provider = request.platform_provider
        applications.set_deploy_targets(record, request.deploy_targets_by_plugin)
        if request.config_filename:
            record.git_path.config_filename = request.config_filename

    await applications.change(services, person, request.application_id, alter)
    return UpdateApplicationResponse()


async def list_applications(
    services: Services, person: Person, request: ListApplicationsRequest
) -> ListApplicationsResponse:
    options = request.options
    criteria = ApplicationFilter(
        name=options.name,
        kinds=[kind_name(kind) for kind in options.kinds],
        sync_statuses=options.sync_statuses,
        piped_id=options.piped_id,
        labels=options.labels,
        enabled=options.enabled.value if options.HasField("enabled") else None,
        included=person.conditions(Resource.APPLICATION),
    )
    records = await lists.all_applications(services.store, person.project_id, criteria)
    newest_first = sorted(records, key=lambda record: (-record.updated_at, record.id))
    return ListApplicationsResponse(applications=newest_first)


async def list_unregistered(
    services: Services, person: Person, _: ListUnregisteredApplicationsRequest
) -> ListUnregisteredApplicationsResponse:
    """Without applications of kinds that PipeCD's schema has no number for."""
    found = await suggestions.list_for_person(services.store, person)
    applications = [suggestion.application for suggestion in found.suggestions if has_number(suggestion.kind)]
    return ListUnregisteredApplicationsResponse(applications=applications)


async def generate_sealed_secret(
    services: Services, person: Person, request: GenerateApplicationSealedSecretRequest
) -> GenerateApplicationSealedSecretResponse:
    ciphertext = await pipeds.encrypt_secret(
        services, person, request.piped_id, request.data, in_base64=request.base64_encoding
    )
    return GenerateApplicationSealedSecretResponse(data=ciphertext)


async def get_live_state(
    services: Services, person: Person, request: GetApplicationLiveStateRequest
) -> GetApplicationLiveStateResponse:
    await ownership.get(services, person, Application, request.application_id)
    snapshot = await services.blobs.live_state(request.application_id)
    return GetApplicationLiveStateResponse(snapshot=snapshot)


HANDLERS: Mapping[str, Handler] = {
    "UpdateApplication": update,
    "ListApplications": list_applications,
    "ListUnregisteredApplications": list_unregistered,
    "GenerateApplicationSealedSecret": generate_sealed_secret,
    "GetApplicationLiveState": get_live_state,
}

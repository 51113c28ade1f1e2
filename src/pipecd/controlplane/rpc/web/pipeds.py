"""WebService: agents and their keys."""

import re
from collections.abc import Mapping

from pipecd import __version__
from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.records import commands, ownership, pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.secret_fields import redact
from pipecd.errors import Refused
from pipecd.model.versions import is_older
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.web.pipeds_pb2 import (
    DeleteOldPipedKeysRequest,
    DeleteOldPipedKeysResponse,
    ListDeprecatedNotesRequest,
    ListDeprecatedNotesResponse,
    ListPipedsRequest,
    ListPipedsResponse,
    ListReleasedVersionsRequest,
    ListReleasedVersionsResponse,
    RecreatePipedKeyRequest,
    RecreatePipedKeyResponse,
    RestartPipedRequest,
    RestartPipedResponse,
    UpdatePipedDesiredVersionRequest,
    UpdatePipedDesiredVersionResponse,
)

_OWN_VERSION = f"v{__version__}"
#: Release versions, including PipeCD's builds between two releases: v0.52.0-12-g1a2b3c4.
_VERSION = re.compile(r"v\d[0-9A-Za-z.+_-]{0,63}")


async def recreate_key(
    services: Services, caller: Caller, request: RecreatePipedKeyRequest
) -> RecreatePipedKeyResponse:
    key = await pipeds.add_key(services, caller, request.id, caller.actor.name, request.key_lifetime)
    return RecreatePipedKeyResponse(key=key)


async def delete_old_keys(
    services: Services, caller: Caller, request: DeleteOldPipedKeysRequest
) -> DeleteOldPipedKeysResponse:
    await pipeds.delete_old_keys(services, caller, request.piped_id)
    return DeleteOldPipedKeysResponse()


async def list_pipeds(services: Services, person: Person, request: ListPipedsRequest) -> ListPipedsResponse:
    enabled = request.options.enabled.value if request.options.HasField("enabled") else None
    records = await lists.pipeds(services.store, person.project_id, enabled)
    if request.with_status:
        copies = await pipeds.with_status(services, person.project_id, records)
    else:
        copies = [redact(piped) for piped in records]
    return ListPipedsResponse(pipeds=[ownership.hide_in_piped(person, piped) for piped in copies])


async def update_desired_version(
    services: Services, caller: Caller, request: UpdatePipedDesiredVersionRequest
) -> UpdatePipedDesiredVersionResponse:
    if not _VERSION.fullmatch(request.version):
        raise Refused(
            f"{request.version!r} is not a version", remedy="use a version such as v0.2.0", field="version"
        )
    for piped_id in request.piped_ids:
        piped = await ownership.get(services, caller, Piped, piped_id)
        _check_version(piped, request.version, allow_downgrade=request.allow_downgrade)

    def alter(record: Piped) -> None:
        record.desired_version, record.allow_downgrade = request.version, request.allow_downgrade

    for piped_id in request.piped_ids:
        await pipeds.change(services, caller, piped_id, alter)
    return UpdatePipedDesiredVersionResponse()


def _check_version(piped: Piped, wanted: str, *, allow_downgrade: bool) -> None:
    """Raises Refused for an older version, unless it is wanted, and for our version of PipeCD's agent."""
    if piped.version and piped.package != pipeds.PACKAGE and wanted == _OWN_VERSION:
        raise Refused(
            f"piped {piped.name} is PipeCD's, which has no version {wanted} of this project",
            remedy="enter a version of PipeCD, or start this project's piped with its key",
            field="version",
        )
    if is_older(wanted, piped.version) and not allow_downgrade:
        raise Refused(
            f"{wanted} is older than {piped.version}, which piped {piped.name} runs",
            remedy="confirm the downgrade, or choose another version",
            field="version",
        )


async def restart(services: Services, caller: Caller, request: RestartPipedRequest) -> RestartPipedResponse:
    piped = await ownership.get(services, caller, Piped, request.piped_id)
    payload = Command.RestartPiped(piped_id=piped.id)
    return RestartPipedResponse(
        command_id=await commands.create(services, caller, piped.id, restart_piped=payload)
    )


async def list_released_versions(
    services: Services, person: Person, request: ListReleasedVersionsRequest
) -> ListReleasedVersionsResponse:
    """Return the version of this project that is compatible with this control plane: its own.

    Nothing for a project whose agents are all PipeCD's: their launchers would install PipeCD's release of
    that number.
    """
    records = await lists.pipeds(services.store, person.project_id)
    foreign = [piped for piped in records if piped.version and piped.package != pipeds.PACKAGE]
    versions = [] if records and len(foreign) == len(records) else [_OWN_VERSION]
    return ListReleasedVersionsResponse(versions=versions)


async def list_deprecated_notes(
    _: Services, __: Person, request: ListDeprecatedNotesRequest
) -> ListDeprecatedNotesResponse:
    return ListDeprecatedNotesResponse()


#: Also of ProgramService, for API keys with the role ADMIN.
ADMINISTRATION: Mapping[str, Handler] = {
    "RecreatePipedKey": recreate_key,
    "DeleteOldPipedKeys": delete_old_keys,
    "UpdatePipedDesiredVersion": update_desired_version,
    "RestartPiped": restart,
}

HANDLERS: Mapping[str, Handler] = {
    **ADMINISTRATION,
    "ListPipeds": list_pipeds,
    "ListReleasedVersions": list_released_versions,
    "ListDeprecatedNotes": list_deprecated_notes,
}

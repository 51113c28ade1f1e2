"""WebService: agents and their keys."""

import re
from collections.abc import Mapping
from importlib.metadata import version

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records import commands, ownership, pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.errors import Refused
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.web.pipeds_pb2 import (
    DeleteOldPipedKeysRequest,
    DeleteOldPipedKeysResponse,
    DisablePipedRequest,
    DisablePipedResponse,
    EnablePipedRequest,
    EnablePipedResponse,
    GetPipedRequest,
    GetPipedResponse,
    ListDeprecatedNotesRequest,
    ListDeprecatedNotesResponse,
    ListPipedsRequest,
    ListPipedsResponse,
    ListReleasedVersionsRequest,
    ListReleasedVersionsResponse,
    RecreatePipedKeyRequest,
    RecreatePipedKeyResponse,
    RegisterPipedRequest,
    RegisterPipedResponse,
    RestartPipedRequest,
    RestartPipedResponse,
    UpdatePipedDesiredVersionRequest,
    UpdatePipedDesiredVersionResponse,
    UpdatePipedRequest,
    UpdatePipedResponse,
)

#: As releases are called, PipeCD's builds between two of them too: v0.52.0-12-g1a2b3c4.
_VERSION = re.compile(r"v\d[0-9A-Za-z.+_-]{0,63}")


async def register(plane: Plane, person: Person, request: RegisterPipedRequest) -> RegisterPipedResponse:
    piped_id, key = await pipeds.register(plane, person, request.name, request.desc, person.username)
    return RegisterPipedResponse(id=piped_id, key=key)


async def update(plane: Plane, person: Person, request: UpdatePipedRequest) -> UpdatePipedResponse:
    def alter(record: Piped) -> None:
        record.name, record.desc = request.name, request.desc

    await pipeds.change(plane, person, request.piped_id, alter)
    return UpdatePipedResponse()


async def recreate_key(
    plane: Plane, person: Person, request: RecreatePipedKeyRequest
) -> RecreatePipedKeyResponse:
    key = await pipeds.add_key(plane, person, request.id, person.username)
    return RecreatePipedKeyResponse(key=key)


async def delete_old_keys(
    plane: Plane, person: Person, request: DeleteOldPipedKeysRequest
) -> DeleteOldPipedKeysResponse:
    await pipeds.delete_old_keys(plane, person, request.piped_id)
    return DeleteOldPipedKeysResponse()


async def enable(plane: Plane, person: Person, request: EnablePipedRequest) -> EnablePipedResponse:
    await pipeds.set_disabled(plane, person, request.piped_id, disabled=False)
    return EnablePipedResponse()


async def disable(plane: Plane, person: Person, request: DisablePipedRequest) -> DisablePipedResponse:
    await pipeds.set_disabled(plane, person, request.piped_id, disabled=True)
    return DisablePipedResponse()


async def list_pipeds(plane: Plane, person: Person, request: ListPipedsRequest) -> ListPipedsResponse:
    enabled = request.options.enabled.value if request.options.HasField("enabled") else None
    found = await lists.pipeds(plane.store, person.project_id, enabled)
    if request.with_status:
        return ListPipedsResponse(pipeds=await pipeds.with_status(plane, person.project_id, found))
    return ListPipedsResponse(pipeds=[pipeds.redacted(one) for one in found])


async def get(plane: Plane, person: Person, request: GetPipedRequest) -> GetPipedResponse:
    piped = await ownership.get(plane, person, Piped, request.piped_id)
    (shown,) = await pipeds.with_status(plane, person.project_id, [piped])
    return GetPipedResponse(piped=shown)


async def update_desired_version(
    plane: Plane, person: Person, request: UpdatePipedDesiredVersionRequest
) -> UpdatePipedDesiredVersionResponse:
    if not _VERSION.fullmatch(request.version):
        raise Refused(f"{request.version!r} is not a version", remedy="write it like v0.2.0")
    for piped_id in request.piped_ids:
        await ownership.get(plane, person, Piped, piped_id)

    def alter(record: Piped) -> None:
        record.desired_version = request.version

    for piped_id in request.piped_ids:
        await pipeds.change(plane, person, piped_id, alter)
    return UpdatePipedDesiredVersionResponse()


async def restart(plane: Plane, person: Person, request: RestartPipedRequest) -> RestartPipedResponse:
    piped = await ownership.get(plane, person, Piped, request.piped_id)
    payload = Command.RestartPiped(piped_id=piped.id)
    return RestartPipedResponse(
        command_id=await commands.order(plane, person, piped.id, restart_piped=payload)
    )


async def list_released_versions(
    _: Plane, __: Person, request: ListReleasedVersionsRequest
) -> ListReleasedVersionsResponse:
    """The version that fits this control plane: its own."""
    return ListReleasedVersionsResponse(versions=[f"v{version('pipecd')}"])


async def list_deprecated_notes(
    _: Plane, __: Person, request: ListDeprecatedNotesRequest
) -> ListDeprecatedNotesResponse:
    return ListDeprecatedNotesResponse()


HANDLERS: Mapping[str, Handler] = {
    "RegisterPiped": register,
    "UpdatePiped": update,
    "RecreatePipedKey": recreate_key,
    "DeleteOldPipedKeys": delete_old_keys,
    "EnablePiped": enable,
    "DisablePiped": disable,
    "ListPipeds": list_pipeds,
    "GetPiped": get,
    "UpdatePipedDesiredVersion": update_desired_version,
    "RestartPiped": restart,
    "ListReleasedVersions": list_released_versions,
    "ListDeprecatedNotes": list_deprecated_notes,
}

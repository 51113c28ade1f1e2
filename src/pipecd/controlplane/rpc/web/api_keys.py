"""WebService: API keys. The key itself is shown once, when it is made."""

from collections.abc import Mapping

from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records import ownership
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.web.api_keys_pb2 import (
    DisableAPIKeyRequest,
    DisableAPIKeyResponse,
    GenerateAPIKeyRequest,
    GenerateAPIKeyResponse,
    ListAPIKeysRequest,
    ListAPIKeysResponse,
)


async def generate(plane: Plane, person: Person, request: GenerateAPIKeyRequest) -> GenerateAPIKeyResponse:
    key_id, key = keys.new_api_key()
    now = plane.now()
    made = APIKey(
        id=key_id,
        name=request.name,
        key_hash=keys.hashed(key),
        project_id=person.project_id,
        role=request.role,
        creator=person.username,
        created_at=now,
        updated_at=now,
    )
    await plane.store.create(made)
    return GenerateAPIKeyResponse(key=key)


async def disable(plane: Plane, person: Person, request: DisableAPIKeyRequest) -> DisableAPIKeyResponse:
    def alter(record: APIKey) -> None:
        record.disabled = True

    await ownership.change(plane, person, APIKey, request.id, alter)
    return DisableAPIKeyResponse()


async def list_keys(plane: Plane, person: Person, request: ListAPIKeysRequest) -> ListAPIKeysResponse:
    found = await lists.api_keys(plane.store, person.project_id)
    if request.options.HasField("enabled"):
        found = [one for one in found if one.disabled != request.options.enabled.value]
    for one in found:
        one.key_hash = "redacted"
    return ListAPIKeysResponse(keys=found)


HANDLERS: Mapping[str, Handler] = {
    "GenerateAPIKey": generate,
    "DisableAPIKey": disable,
    "ListAPIKeys": list_keys,
}

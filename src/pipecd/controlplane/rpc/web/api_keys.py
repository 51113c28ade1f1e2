"""WebService and ProgramService: API keys. The key itself is returned only once, on creation."""

from collections.abc import Mapping

from pipecd.controlplane.auth import keys
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import ownership
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.secret_fields import redact
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.web.api_keys_pb2 import (
    DisableAPIKeyRequest,
    DisableAPIKeyResponse,
    GenerateAPIKeyRequest,
    GenerateAPIKeyResponse,
    ListAPIKeysRequest,
    ListAPIKeysResponse,
)


async def generate(
    services: Services, caller: Caller, request: GenerateAPIKeyRequest
) -> GenerateAPIKeyResponse:
    key_id, key = keys.new_api_key()
    now = services.now()
    api_key = APIKey(
        id=key_id,
        name=request.name,
        key_hash=keys.hash_key(key),
        project_id=caller.project_id,
        role=request.role,
        creator=caller.actor.name,
        created_at=now,
        updated_at=now,
        expires_at=keys.expires_at(now, request.key_lifetime, services.key_lifetimes.api_key),
    )
    await services.store.create(api_key, by=caller.actor)
    return GenerateAPIKeyResponse(key=key)


async def disable(services: Services, caller: Caller, request: DisableAPIKeyRequest) -> DisableAPIKeyResponse:
    def alter(record: APIKey) -> None:
        record.disabled = True

    await ownership.change(services, caller, APIKey, request.id, alter)
    return DisableAPIKeyResponse()


async def list_keys(services: Services, caller: Caller, request: ListAPIKeysRequest) -> ListAPIKeysResponse:
    api_keys = await lists.api_keys(services.store, caller.project_id)
    if request.options.HasField("enabled"):
        api_keys = [key for key in api_keys if key.disabled != request.options.enabled.value]
    return ListAPIKeysResponse(keys=[redact(key) for key in api_keys])


HANDLERS: Mapping[str, Handler] = {
    "GenerateAPIKey": generate,
    "DisableAPIKey": disable,
    "ListAPIKeys": list_keys,
}

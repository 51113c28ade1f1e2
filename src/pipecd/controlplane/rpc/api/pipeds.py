"""APIService: agents, and encryption of secrets for them."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import ownership, pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.schema.api.pipeds_pb2 import (
    DisablePipedRequest,
    DisablePipedResponse,
    EnablePipedRequest,
    EnablePipedResponse,
    EncryptRequest,
    EncryptResponse,
    GetPipedRequest,
    GetPipedResponse,
    RegisterPipedRequest,
    RegisterPipedResponse,
    UpdatePipedRequest,
    UpdatePipedResponse,
)
from pipecd.schema.model.piped_pb2 import Piped


async def get(services: Services, program: Program, request: GetPipedRequest) -> GetPipedResponse:
    piped = await ownership.get(services, program, Piped, request.piped_id)
    (with_status,) = await pipeds.with_status(services, program.project_id, [piped])
    return GetPipedResponse(piped=with_status)


async def register(
    services: Services, program: Program, request: RegisterPipedRequest
) -> RegisterPipedResponse:
    piped_id, key = await pipeds.register(services, program, request.name, request.desc, program.key_name)
    return RegisterPipedResponse(id=piped_id, key=key)


async def update(services: Services, program: Program, request: UpdatePipedRequest) -> UpdatePipedResponse:
    def alter(record: Piped) -> None:
        record.name, record.desc = request.name, request.desc

    await pipeds.change(services, program, request.piped_id, alter)
    return UpdatePipedResponse()


async def enable(services: Services, program: Program, request: EnablePipedRequest) -> EnablePipedResponse:
    await pipeds.set_disabled(services, program, request.piped_id, disabled=False)
    return EnablePipedResponse()


async def disable(services: Services, program: Program, request: DisablePipedRequest) -> DisablePipedResponse:
    await pipeds.set_disabled(services, program, request.piped_id, disabled=True)
    return DisablePipedResponse()


async def encrypt(services: Services, program: Program, request: EncryptRequest) -> EncryptResponse:
    ciphertext = await pipeds.encrypt_secret(
        services, program, request.piped_id, request.plaintext, in_base64=request.base64_encoding
    )
    return EncryptResponse(ciphertext=ciphertext)


HANDLERS: Mapping[str, Handler] = {
    "GetPiped": get,
    "RegisterPiped": register,
    "UpdatePiped": update,
    "EnablePiped": enable,
    "DisablePiped": disable,
    "Encrypt": encrypt,
}

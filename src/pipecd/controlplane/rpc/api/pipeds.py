"""APIService: agents, and secrets sealed for them."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import ownership, pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
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


async def get(plane: Plane, program: Program, request: GetPipedRequest) -> GetPipedResponse:
    piped = await ownership.get(plane, program, Piped, request.piped_id)
    (shown,) = await pipeds.with_status(plane, program.project_id, [piped])
    return GetPipedResponse(piped=shown)


async def register(plane: Plane, program: Program, request: RegisterPipedRequest) -> RegisterPipedResponse:
    piped_id, key = await pipeds.register(plane, program, request.name, request.desc, program.key_name)
    return RegisterPipedResponse(id=piped_id, key=key)


async def update(plane: Plane, program: Program, request: UpdatePipedRequest) -> UpdatePipedResponse:
    def alter(record: Piped) -> None:
        record.name, record.desc = request.name, request.desc

    await pipeds.change(plane, program, request.piped_id, alter)
    return UpdatePipedResponse()


async def enable(plane: Plane, program: Program, request: EnablePipedRequest) -> EnablePipedResponse:
    await pipeds.set_disabled(plane, program, request.piped_id, disabled=False)
    return EnablePipedResponse()


async def disable(plane: Plane, program: Program, request: DisablePipedRequest) -> DisablePipedResponse:
    await pipeds.set_disabled(plane, program, request.piped_id, disabled=True)
    return DisablePipedResponse()


async def encrypt(plane: Plane, program: Program, request: EncryptRequest) -> EncryptResponse:
    sealed = await pipeds.sealed(
        plane, program, request.piped_id, request.plaintext, in_base64=request.base64_encoding
    )
    return EncryptResponse(ciphertext=sealed)


HANDLERS: Mapping[str, Handler] = {
    "GetPiped": get,
    "RegisterPiped": register,
    "UpdatePiped": update,
    "EnablePiped": enable,
    "DisablePiped": disable,
    "Encrypt": encrypt,
}

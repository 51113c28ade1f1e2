"""APIService: agents, and encryption of secrets for them."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.schema.api.pipeds_pb2 import (
    EncryptRequest,
    EncryptResponse,
)


async def encrypt(services: Services, program: Program, request: EncryptRequest) -> EncryptResponse:
    ciphertext = await pipeds.encrypt_secret(
        services, program, request.piped_id, request.plaintext, in_base64=request.base64_encoding
    )
    return EncryptResponse(ciphertext=ciphertext)


HANDLERS: Mapping[str, Handler] = {
    "Encrypt": encrypt,
}

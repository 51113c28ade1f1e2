"""A control plane like PipeCD's 0.50 to 0.52: a proxy that forwards only the calls which that one has.

Without our streams and leases, and without the identity of the agent's process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc import aio

from pipecd.schema.agent import service_pb2
from tests.raw_grpc import unary

#: Calls that PipeCD's control plane has only since 0.53.
SINCE_0_53 = ("SaveDeploymentSharedMetadata", "GetApplicationSharedObject", "PutApplicationSharedObject")
_SERVICE = service_pb2.DESCRIPTOR.services_by_name["PipedService"]


class _Forward(grpc.GenericRpcHandler):
    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        path = handler_call_details.method
        _, service, name = path.split("/")
        if service != _SERVICE.full_name or name in SINCE_0_53:
            return None
        call = unary(self._channel, path)

        async def forward(request: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
            metadata = [item for item in context.invocation_metadata() or () if item[0] == "authorization"]
            try:
                return await call(request, metadata=metadata)
            except aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")

        return grpc.unary_unary_rpc_method_handler(forward)


@asynccontextmanager
async def older_control_plane(address: str) -> AsyncIterator[str]:
    """Yields the address of the proxy in front of the control plane at `address`."""
    server = aio.server()
    async with aio.insecure_channel(address) as channel:
        server.add_generic_rpc_handlers((_Forward(channel),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(grace=None)

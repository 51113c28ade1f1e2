"""Deletes what agents answered to commands, such as plan previews, once nobody waits for it any more."""

from pipecd.controlplane.services import Plane

#: Seconds; PipeCD's own.
LIFETIME = 48 * 3600


async def run(plane: Plane) -> None:
    await plane.blobs.forget_command_outputs(plane.now() - LIFETIME)

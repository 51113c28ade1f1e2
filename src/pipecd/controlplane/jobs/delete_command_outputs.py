"""Deletes expired command outputs, such as the results of plan previews."""

from pipecd.controlplane.services import Services

#: In seconds; the same as in PipeCD.
LIFETIME = 48 * 3600


async def run(services: Services) -> None:
    await services.blobs.delete_command_outputs(services.now() - LIFETIME)

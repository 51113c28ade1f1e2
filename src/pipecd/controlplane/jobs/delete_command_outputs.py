"""Deletes expired command outputs, such as the results of plan previews."""

from pipecd.controlplane.services import Services
from pipecd.controlplane.store.audit import Subject
from pipecd.model.actor import Actor

#: In seconds; the same as in PipeCD.
LIFETIME = 48 * 3600


async def run(services: Services, by: Actor) -> None:
    deleted = await services.blobs.delete_command_outputs(services.now() - LIFETIME)
    if deleted:
        record = Subject(kind="command_output", id="", project_id="")
        await services.store.record_action("delete", record, {"deleted": deleted}, by=by)

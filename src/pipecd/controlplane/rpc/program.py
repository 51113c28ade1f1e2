"""ProgramService handlers: pipecd's extension of PipeCD's APIService, for programs with an API key."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Program
from pipecd.controlplane.records import pipeds
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest, ListPipedsResponse


async def list_pipeds(services: Services, program: Program, request: ListPipedsRequest) -> ListPipedsResponse:
    enabled = None if request.with_disabled else True
    records = await lists.pipeds(services.store, program.project_id, enabled)
    return ListPipedsResponse(pipeds=await pipeds.with_status(services, program.project_id, records))


HANDLERS: Mapping[str, Handler] = {"ListPipeds": list_pipeds}

"""WebService: commands, events, traces and chains: records that the console only looks at."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records import ownership
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import DeploymentFilter, EventFilter, Paging
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.web.chains_pb2 import (
    GetDeploymentChainRequest,
    GetDeploymentChainResponse,
    ListDeploymentChainsRequest,
    ListDeploymentChainsResponse,
)
from pipecd.schema.web.commands_pb2 import GetCommandRequest, GetCommandResponse
from pipecd.schema.web.events_pb2 import (
    ListDeploymentTracesRequest,
    ListDeploymentTracesResponse,
    ListEventsRequest,
    ListEventsResponse,
)


async def get_command(plane: Plane, person: Person, request: GetCommandRequest) -> GetCommandResponse:
    return GetCommandResponse(command=await ownership.get(plane, person, Command, request.command_id))


async def list_events(plane: Plane, person: Person, request: ListEventsRequest) -> ListEventsResponse:
    options = request.options
    wanted = EventFilter(name=options.name, statuses=options.statuses, labels=options.labels)
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.events(plane.store, person.project_id, wanted, paging)
    return ListEventsResponse(events=page.records, cursor=page.cursor)


async def list_traces(
    plane: Plane, person: Person, request: ListDeploymentTracesRequest
) -> ListDeploymentTracesResponse:
    """Traces, each with the deployments whose commit names it."""
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.traces(plane.store, person.project_id, request.options.commit_hash, paging)
    answer = ListDeploymentTracesResponse(cursor=page.cursor)
    for trace in page.records:
        caused = await lists.deployments(
            plane.store,
            person.project_id,
            DeploymentFilter(trace_commit=trace.commit_hash),
            Paging(size=lists.LARGEST_PAGE),
        )
        if caused.records:
            answer.traces.add(trace=trace, deployments=caused.records)
    return answer


async def list_chains(
    plane: Plane, person: Person, request: ListDeploymentChainsRequest
) -> ListDeploymentChainsResponse:
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.chains(plane.store, person.project_id, paging)
    return ListDeploymentChainsResponse(deployment_chains=page.records, cursor=page.cursor)


async def get_chain(
    plane: Plane, person: Person, request: GetDeploymentChainRequest
) -> GetDeploymentChainResponse:
    found = await ownership.get(plane, person, DeploymentChain, request.deployment_chain_id)
    return GetDeploymentChainResponse(deployment_chain=found)


HANDLERS: Mapping[str, Handler] = {
    "GetCommand": get_command,
    "ListEvents": list_events,
    "ListDeploymentTraces": list_traces,
    "ListDeploymentChains": list_chains,
    "GetDeploymentChain": get_chain,
}

"""WebService: events, traces and chains, which the console only reads; some are in ProgramService too."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Person, Program
from pipecd.controlplane.records import ownership
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.controlplane.store.lists import DeploymentFilter, EventFilter, Paging
from pipecd.errors import PermissionDenied
from pipecd.model.access import Resource
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.web.chains_pb2 import (
    GetDeploymentChainRequest,
    GetDeploymentChainResponse,
    ListDeploymentChainsRequest,
    ListDeploymentChainsResponse,
)
from pipecd.schema.web.events_pb2 import (
    ListDeploymentTracesRequest,
    ListDeploymentTracesResponse,
    ListEventsRequest,
    ListEventsResponse,
)


async def list_events(services: Services, person: Person, request: ListEventsRequest) -> ListEventsResponse:
    options = request.options
    criteria = EventFilter(
        name=options.name,
        search=options.search,
        statuses=options.statuses,
        labels=options.labels,
        included=person.conditions(Resource.EVENT),
    )
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.events(services.store, person.project_id, criteria, paging)
    return ListEventsResponse(events=page.records, cursor=page.cursor)


async def list_traces(
    services: Services, caller: Person | Program, request: ListDeploymentTracesRequest
) -> ListDeploymentTracesResponse:
    """List traces, each with the deployments triggered by a commit that references it; maybe none yet."""
    included = caller.conditions(Resource.DEPLOYMENT) if isinstance(caller, Person) else None
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.traces(services.store, caller.project_id, request.options.commit_hash, paging)
    response = ListDeploymentTracesResponse(cursor=page.cursor)
    for trace in page.records:
        deployments = await lists.deployments(
            services.store,
            caller.project_id,
            DeploymentFilter(trace_commit=trace.commit_hash, included=included),
            Paging(size=lists.MAX_PAGE_SIZE),
        )
        response.traces.add(trace=trace, deployments=deployments.records)
    return response


async def list_chains(
    services: Services, caller: Person | Program, request: ListDeploymentChainsRequest
) -> ListDeploymentChainsResponse:
    paging = Paging(size=request.page_size, cursor=request.cursor, since=request.page_min_updated_at)
    page = await lists.chains(services.store, caller.project_id, paging)
    chains = await ownership.hide_in_chains(services, caller, page.records)
    return ListDeploymentChainsResponse(deployment_chains=chains, cursor=page.cursor)


async def get_chain(
    services: Services, caller: Person | Program, request: GetDeploymentChainRequest
) -> GetDeploymentChainResponse:
    chain = await ownership.get(services, caller, DeploymentChain, request.deployment_chain_id)
    visible = await ownership.hide_in_chains(services, caller, [chain])
    if not visible:
        raise PermissionDenied(
            f"the roles of {caller.name} include no application of chain {chain.id};"
            " ask an administrator for a role whose labels match"
        )
    return GetDeploymentChainResponse(deployment_chain=visible[0])


HANDLERS: Mapping[str, Handler] = {
    "ListEvents": list_events,
    "ListDeploymentTraces": list_traces,
    "ListDeploymentChains": list_chains,
    "GetDeploymentChain": get_chain,
}

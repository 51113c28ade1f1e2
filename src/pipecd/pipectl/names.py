"""Finds the id of an application, agent, deployment, chain or commit that a person names.

Where an option takes an id, the name of an application or agent is accepted too, and the beginning of an id
(eight characters or more), as tables show it. A whole id is used without a look-up. Text that matches nothing
is returned unchanged, so that the control plane's answer says that it does not exist.
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol, TypeVar

import click
from grpc import aio

from pipecd.client import Client
from pipecd.errors import Conflict, NotFound, Unsupported
from pipecd.pipectl.output import ID, SHORT_ID_LENGTH
from pipecd.schema.api.applications_pb2 import ListApplicationsRequest, ListApplicationsResponse
from pipecd.schema.api.deployments_pb2 import ListDeploymentsRequest, ListDeploymentsResponse
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest
from pipecd.schema.web.chains_pb2 import ListDeploymentChainsRequest, ListDeploymentChainsResponse
from pipecd.schema.web.events_pb2 import ListDeploymentTracesRequest, ListDeploymentTracesResponse

_BEGINNING = re.compile(rf"(?=.{{{SHORT_ID_LENGTH}}})[0-9a-f]{{8}}[0-9a-f-]*")
#: Only as many of the most recently changed records are searched for the beginning of an id.
MAX_SEARCHED = 2_000
_PAGE = 200
#: Each trace has its deployments with it.
_TRACES_PAGE = 50


class Identified(Protocol):
    @property
    def id(self) -> str: ...


Record = TypeVar("Record", bound=Identified)
Request = TypeVar(
    "Request",
    ListApplicationsRequest,
    ListDeploymentsRequest,
    ListDeploymentChainsRequest,
    ListDeploymentTracesRequest,
)
Page = TypeVar(
    "Page",
    ListApplicationsResponse,
    ListDeploymentsResponse,
    ListDeploymentChainsResponse,
    ListDeploymentTracesResponse,
)


async def find_application(client: Client, text: str) -> str:
    """The id of the application with this id or name. Raises Conflict if several have the name.

    A deleted application is found by its name only if no other has it.
    """
    if not text or ID.fullmatch(text):
        return text
    named = [record async for record in _applications(client, name=text)]
    existing = [record for record in named if not record.deleted]
    if existing:
        descriptions = {record.id: f"{record.git_path.repo.id}/{record.git_path.path}" for record in existing}
        return _only(existing, f"application name {text}", descriptions)
    if named:
        return max(named, key=lambda record: record.updated_at).id
    if _BEGINNING.fullmatch(text):
        records = [record async for record in _applications(client)]
        return _only(_beginning_with(text, records), f"id {text}", {}) or text
    return text


async def find_applications(client: Client, texts: Sequence[str]) -> list[str]:
    return [await find_application(client, text) for text in texts]


async def find_piped(client: Client, text: str) -> str:
    """The id of the agent with this id or name. Raises Conflict if several have the name.

    PipeCD's control plane does not list agents to programs: there, the text is returned unchanged.
    """
    if not text or ID.fullmatch(text):
        return text
    try:
        response = await client.call(client.program.ListPipeds, ListPipedsRequest(with_disabled=True))
    except Unsupported:
        return text
    named = [piped for piped in response.pipeds if piped.name == text]
    matches = named or (_beginning_with(text, response.pipeds) if _BEGINNING.fullmatch(text) else [])
    return _only(matches, f"piped {text}", {piped.id: piped.name for piped in matches}) or text


async def find_deployment(client: Client, deployment_id: str, application: str) -> str:
    """The id of the deployment with this id, or of the most recent one of the application."""
    if bool(deployment_id) == bool(application):
        raise click.UsageError("use --deployment-id, or --app-id for an application's most recent deployment")
    if application:
        return await _find_last_deployment(client, application)
    if ID.fullmatch(deployment_id) or not _BEGINNING.fullmatch(deployment_id):
        return deployment_id
    records = [record async for record in _deployments(client)]
    return _only(_beginning_with(deployment_id, records), f"id {deployment_id}", {}) or deployment_id


async def find_chain(client: Client, chain_id: str) -> str:
    """The id of the deployment chain with this id."""
    if ID.fullmatch(chain_id) or not _BEGINNING.fullmatch(chain_id):
        return chain_id
    request = ListDeploymentChainsRequest(page_size=_PAGE)
    records = [
        chain
        async for response in _pages(client, client.program.ListDeploymentChains, request)
        for chain in response.deployment_chains
    ]
    return _only(_beginning_with(chain_id, records), f"id {chain_id}", {}) or chain_id


async def find_trace(client: Client, commit: str) -> str:
    """The whole hash of the source commit that begins with `commit`, and that an event has named."""
    exact = ListDeploymentTracesRequest(
        options=ListDeploymentTracesRequest.Options(commit_hash=commit), page_size=1
    )
    if (await client.call(client.program.ListDeploymentTraces, exact)).traces:
        return commit
    hashes: list[str] = []
    request = ListDeploymentTracesRequest(page_size=_TRACES_PAGE)
    async for response in _pages(client, client.program.ListDeploymentTraces, request):
        hashes += [found.trace.commit_hash for found in response.traces]
    matches = [commit_hash for commit_hash in hashes if commit_hash.startswith(commit)]
    if len(matches) > 1:
        raise Conflict(f"commit {commit} is not unique; use one of {', '.join(matches[:10])}")
    return matches[0] if matches else commit


async def _find_last_deployment(client: Client, application: str) -> str:
    application_id = await find_application(client, application)
    request = ListDeploymentsRequest(application_ids=[application_id], limit=_PAGE)
    deployments = (await client.call(client.api.ListDeployments, request)).deployments
    if not deployments:
        raise NotFound(f"application {application} has no deployments")
    return max(deployments, key=lambda deployment: deployment.created_at).id


async def _applications(client: Client, name: str = "") -> AsyncIterator[Application]:
    """Applications, enabled or not, most recently changed first."""
    for disabled in (False, True):
        request = ListApplicationsRequest(name=name, disabled=disabled, limit=_PAGE)
        async for response in _pages(client, client.api.ListApplications, request):
            for application in response.applications:
                yield application


async def _deployments(client: Client) -> AsyncIterator[Deployment]:
    """Deployments, most recently changed first."""
    request = ListDeploymentsRequest(limit=_PAGE)
    async for response in _pages(client, client.api.ListDeployments, request):
        for deployment in response.deployments:
            yield deployment


async def _pages(
    client: Client, method: aio.UnaryUnaryMultiCallable[Request, Page], request: Request
) -> AsyncIterator[Page]:
    """The pages of a list, up to `MAX_SEARCHED` records in pages of `_PAGE`."""
    for _ in range(MAX_SEARCHED // _PAGE):
        page = await client.call(method, request)
        yield page
        if not page.cursor:
            return
        request.cursor = page.cursor


def _beginning_with(text: str, records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.id.startswith(text)]


def _only(records: Sequence[Record], what: str, descriptions: dict[str, str]) -> str:
    """The id of the only record; empty if there is none. Raises Conflict if there are several."""
    if len(records) > 1:
        listed = ", ".join(
            f"{record.id} ({descriptions[record.id]})" if record.id in descriptions else record.id
            for record in records[:10]
        )
        raise Conflict(f"{what} is not unique; use one of these ids: {listed}")
    return records[0].id if records else ""

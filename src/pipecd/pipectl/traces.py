"""`pipectl trace …`: source commits, and the deployments that they caused."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import click

from pipecd.client import Client
from pipecd.errors import NotFound
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.names import find_trace
from pipecd.pipectl.output import (
    Output,
    View,
    fields,
    format_age,
    list_view,
    page_options,
    show,
    table,
    view_options,
)
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.pipectl.values import FINAL_STATUSES, status_name
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.web.events_pb2 import ListDeploymentTracesRequest, ListDeploymentTracesResponse

#: Deployments that a line of the list names.
_MAX_NAMES = 4
_supported = partial(
    unsupported_means, "this control plane cannot show traces for an API key; use its console"
)
_Trace = ListDeploymentTracesResponse.DeploymentTraceRes


@click.command("list")
@page_options()
@view_options
@with_client
async def list_command(client: Client, *, cursor: str, limit: int, output: Output) -> None:
    """List source commits that events named, with their deployments; most recently changed first."""
    request = ListDeploymentTracesRequest(page_size=limit, cursor=cursor)

    async def fetch() -> ListDeploymentTracesResponse:
        with _supported():
            return await client.call(client.program.ListDeploymentTraces, request)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: ListDeploymentTracesResponse, output: Output) -> View:
    columns = ["COMMIT", "SUMMARY", "AUTHOR", "DEPLOYMENTS", "REGISTERED"]
    rows = [
        [
            found.trace.commit_hash if output.wide else found.trace.commit_hash[:7],
            found.trace.title,
            found.trace.author,
            _describe(found.deployments, len(found.deployments) if output.wide else _MAX_NAMES),
            format_age(found.trace.created_at),
        ]
        for found in response.traces
    ]
    empty = "No event has named a commit (`pipectl event register --commit-hash … --commit-url …`)."
    return list_view(columns, rows, empty=empty, cursor=response.cursor)


def _describe(deployments: Sequence[Deployment], limit: int) -> str:
    """`shop SUCCESS, api RUNNING +3`."""
    shown = [f"{each.application_name} {status_name(each.status)}" for each in deployments[:limit]]
    more = len(deployments) - len(shown)
    return ", ".join(shown) + (f" +{more}" if more else "")


@click.command()
@click.option("--commit", required=True, help="Hash of the source commit, or its beginning.")
@view_options
@with_client
async def get(client: Client, *, commit: str, output: Output) -> None:
    """Show the deployments that a source commit caused, in all repositories."""

    async def fetch() -> _Trace:
        request = ListDeploymentTracesRequest(
            options=ListDeploymentTracesRequest.Options(commit_hash=whole_hash), page_size=1
        )
        traces = (await client.call(client.program.ListDeploymentTraces, request)).traces
        if not traces:
            raise NotFound(f"no event has named the commit {commit}")
        return traces[0]

    with _supported():
        whole_hash = await find_trace(client, commit)
        await show(client.clock, fetch, lambda found: _details(found, output), output)


def _details(found: _Trace, output: Output) -> View:
    trace = found.trace
    at = trace.commit_timestamp
    details = fields(
        [
            ("Commit", trace.commit_hash),
            ("Title", trace.title),
            ("Author", trace.author),
            ("Committed", f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""),
            ("Page", trace.commit_url),
            ("Registered", format_age(trace.created_at)),
        ]
    )
    rows = [
        (
            output.id(each.id),
            each.application_name,
            status_name(each.status),
            each.trigger.commit.hash[:7],
            format_age(each.created_at),
        )
        for each in sorted(found.deployments, key=lambda each: (each.created_at, each.id))
    ]
    deployments = table(("DEPLOYMENT", "APPLICATION", "STATUS", "COMMIT", "CREATED"), rows)
    if deployments is None:
        return View(parts=[details], notes=["No deployment has followed yet."])
    final = all(each.status in FINAL_STATUSES for each in found.deployments)
    return View(parts=[details, "", deployments], final=final)

"""Completes names of applications and agents in a shell, with the connection settings of the command line.

Nothing is completed if the control plane does not answer at once, or the settings are incomplete: a shell
that waits for a completion cannot be used.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import click
from click.shell_completion import CompletionItem

from pipecd.client import Client
from pipecd.errors import PipecdError
from pipecd.pipectl.connection import connect_with, connection_values, find_settings
from pipecd.schema.api.applications_pb2 import ListApplicationsRequest
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsRequest

#: For connecting and reading, in seconds.
TIMEOUT = 2.0
#: More names are no help.
MAX_NAMES = 100

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _complete(names: Callable[[Client], AsyncIterator[tuple[str, str]]]) -> Completion:
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        async def find() -> list[CompletionItem]:
            settings = find_settings(context, connection_values(context.params), context.params["profile"])
            async with asyncio.timeout(TIMEOUT), connect_with(settings) as client:
                found = [item async for item in names(client)]
            return [CompletionItem(name, help=help) for name, help in found if name.startswith(incomplete)]

        try:
            return asyncio.run(find())
        except (PipecdError, TimeoutError, click.UsageError):
            return []

    return complete


async def _applications(client: Client) -> AsyncIterator[tuple[str, str]]:
    response = await client.call(client.api.ListApplications, ListApplicationsRequest(limit=MAX_NAMES))
    for application in response.applications:
        yield application.name, f"{application.git_path.repo.id}/{application.git_path.path}"


async def _pipeds(client: Client) -> AsyncIterator[tuple[str, str]]:
    response = await client.call(client.program.ListPipeds, ListPipedsRequest())
    for piped in response.pipeds[:MAX_NAMES]:
        yield piped.name, piped.desc


complete_applications = _complete(_applications)
complete_pipeds = _complete(_pipeds)

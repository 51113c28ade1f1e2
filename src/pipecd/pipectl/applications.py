"""`pipectl application …`."""

from collections.abc import Sequence

import click

from pipecd.client import Client
from pipecd.config.flags import Duration, switch
from pipecd.errors import Conflict
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import ago, as_json, facts, output_option, table
from pipecd.pipectl.values import ENDED, KINDS, pairs, status_name, statuses
from pipecd.pipectl.waiting import wait_for
from pipecd.schema.api import applications_pb2 as api
from pipecd.schema.api.commands_pb2 import GetCommandRequest
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest
from pipecd.schema.model.application_pb2 import Application, ApplicationSyncStatus
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind

_ID = click.option("--app-id", required=True, help="The application's id.")


@click.command()
@click.option("--app-name", required=True, help="The application's name.")
@click.option("--app-kind", type=KINDS, required=True)
@click.option("--piped-id", required=True, help="The agent that deploys it.")
@click.option("--platform-provider", required=True, help="One of the agent's platform providers.")
@click.option("--repo-id", required=True, help="One of the agent's repositories.")
@click.option("--app-dir", required=True, help="The application's directory in the repository.")
@click.option("--config-file-name", default="app.pipecd.yaml", show_default=True)
@click.option("--description", default="")
@click.option("--labels", multiple=True, metavar="K=V,…")
@with_client
async def add(
    client: Client,
    *,
    app_name: str,
    app_kind: str,
    piped_id: str,
    platform_provider: str,
    repo_id: str,
    app_dir: str,
    config_file_name: str,
    description: str,
    labels: tuple[str, ...],
) -> None:
    """Register an application and print its id."""
    if app_dir.startswith("/") or len(app_dir) < 2:  # What every control plane asks for.
        raise click.UsageError(
            f"--app-dir: {app_dir!r} must be a directory below the repository's root, such as apps/shop"
        )
    path = ApplicationGitPath(
        repo=ApplicationGitRepository(id=repo_id), path=app_dir, config_filename=config_file_name
    )
    request = api.AddApplicationRequest(
        name=app_name,
        piped_id=piped_id,
        git_path=path,
        kind=ApplicationKind.Value(app_kind),
        platform_provider=platform_provider,
        description=description,
        labels=pairs(labels, "=", "--labels"),
    )
    answer = await client.call(client.api.AddApplication, request)
    click.echo(f"Successfully added application id = {answer.application_id}")


@click.command()
@_ID
@output_option
@with_client
async def get(client: Client, *, app_id: str, output: str) -> None:
    """Show one application."""
    answer = await client.call(client.api.GetApplication, api.GetApplicationRequest(application_id=app_id))
    if output == "json":
        as_json(answer.application)
        return
    one = answer.application
    facts(
        [
            ("Name", one.name),
            ("Id", one.id),
            ("Kind", ApplicationKind.Name(one.kind)),
            ("Piped", one.piped_id),
            ("Provider", one.platform_provider),
            ("Repository", one.git_path.repo.id),
            ("Directory", one.git_path.path),
            ("Labels", _labels(one)),
            ("Description", one.description),
            ("Status", _status(one)),
            ("Reason", one.sync_state.short_reason),
            ("Running commit", one.most_recently_successful_deployment.trigger.commit.hash),
            ("Last deployment", one.most_recently_triggered_deployment.deployment_id),
        ]
    )


@click.command("list")
@click.option("--app-name", default="")
@click.option("--app-kind", type=KINDS, default=None)
@click.option("--piped-id", default="")
@switch("--disabled", "Those that are disabled.")
@click.option("--label", "labels", multiple=True, metavar="KEY:VALUE")
@click.option("--cursor", default="", help="Go on after the page before.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 200))
@output_option
@with_client
async def list_command(
    client: Client,
    *,
    app_name: str,
    app_kind: str | None,
    piped_id: str,
    disabled: bool,
    labels: tuple[str, ...],
    cursor: str,
    limit: int,
    output: str,
) -> None:
    """List applications, those changed last first."""
    request = api.ListApplicationsRequest(
        name=app_name,
        kind=app_kind or "",
        piped_id=piped_id,
        disabled=disabled,
        labels=pairs(labels, ":", "--label"),
        limit=limit,
        cursor=cursor,
    )
    answer = await client.call(client.api.ListApplications, request)
    if output == "json":
        as_json(answer)
        return
    rows = (
        (one.id, one.name, ApplicationKind.Name(one.kind), _status(one), _labels(one), ago(one.updated_at))
        for one in answer.applications
    )
    empty = "No application matches; `pipectl application add` registers one."
    table(("ID", "NAME", "KIND", "STATUS", "LABELS", "CHANGED"), rows, empty=empty)
    if answer.cursor:
        click.echo(f"\nThere are more: --cursor={answer.cursor}", err=True)


@click.command()
@_ID
@click.option(
    "--wait-status", multiple=True, help="Wait until the deployment has one of these; empty: do not."
)
@click.option("--check-interval", type=Duration(), default="15s", show_default=True)
@click.option("--timeout", type=Duration(), default="5m", show_default=True)
@with_client
async def sync(
    client: Client, *, app_id: str, wait_status: tuple[str, ...], check_interval: float, timeout: float
) -> None:
    """Deploy the head commit, and print the deployment's id."""
    wanted = statuses(wait_status, "--wait-status")
    asked = await client.call(client.api.SyncApplication, api.SyncApplicationRequest(application_id=app_id))
    click.echo(f"Asked for a sync (command {asked.command_id}), waiting for the agent", err=True)
    # The agent answers within a second; PipeCD's takes up to ten.
    interval = min(check_interval, 2.0)
    command = await wait_for(
        lambda: _handled(client, asked.command_id),
        interval=interval,
        timeout=timeout,
        what="the agent did not answer",
    )
    if command.status != CommandStatus.COMMAND_SUCCEEDED:
        why = command.metadata.get("reason") or CommandStatus.Name(command.status)
        raise Conflict(f"the sync was not done: {why}")
    deployment_id = command.metadata["TriggeredDeploymentID"]
    click.echo(f"Successfully triggered deployment {deployment_id}")
    if wanted:
        await wait_for_status(client, deployment_id, wanted, interval=check_interval, timeout=timeout)


async def _handled(client: Client, command_id: str) -> Command | None:
    answer = await client.call(client.api.GetCommand, GetCommandRequest(command_id=command_id))
    waits = answer.command.status == CommandStatus.COMMAND_NOT_HANDLED_YET
    return None if waits else answer.command


async def wait_for_status(
    client: Client, deployment_id: str, wanted: Sequence[int], *, interval: float, timeout: float
) -> None:
    """Raises Conflict when the deployment ends otherwise than wanted."""
    last = ""

    async def look() -> bool | None:
        nonlocal last
        request = GetDeploymentRequest(deployment_id=deployment_id)
        deployment = (await client.call(client.api.GetDeployment, request)).deployment
        name = status_name(deployment.status)
        if name != last:
            click.echo(f"Deployment {deployment_id} is {name}", err=True)
            last = name
        if deployment.status in wanted:
            return True
        if deployment.status in ENDED:
            raise Conflict(f"deployment {deployment_id} ended as {name}: {deployment.status_reason}")
        return None

    what = f"deployment {deployment_id} did not get there"
    await wait_for(look, interval=interval, timeout=timeout, what=what)
    click.echo(f"Deployment {deployment_id} is at {last} status")


@click.command()
@_ID
@with_client
async def enable(client: Client, *, app_id: str) -> None:
    """Let the agent deploy an application."""
    request = api.EnableApplicationRequest(application_id=app_id)
    await client.call(client.api.EnableApplication, request)
    click.echo(f"Successfully enabled application id = {app_id}")


@click.command()
@_ID
@with_client
async def disable(client: Client, *, app_id: str) -> None:
    """Keep the agent from deploying an application."""
    request = api.DisableApplicationRequest(application_id=app_id)
    await client.call(client.api.DisableApplication, request)
    click.echo(f"Successfully disabled application id = {app_id}")


@click.command()
@_ID
@with_client
async def delete(client: Client, *, app_id: str) -> None:
    """Remove an application. What it deployed stays as it is."""
    request = api.DeleteApplicationRequest(application_id=app_id)
    await client.call(client.api.DeleteApplication, request)
    click.echo(f"Successfully deleted application id = {app_id}")


def _labels(one: Application) -> str:
    return ",".join(f"{key}:{one.labels[key]}" for key in sorted(one.labels))


def _status(one: Application) -> str:
    if one.deleted:
        return "DELETED"
    if one.disabled:
        return "DISABLED"
    return "DEPLOYING" if one.deploying else ApplicationSyncStatus.Name(one.sync_state.status)

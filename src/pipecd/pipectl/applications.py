"""`pipectl application …`: add, get, list, sync, roll back, enable, disable and delete applications."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from pipecd.client import Client
from pipecd.config.flags import Duration, switch
from pipecd.errors import Conflict
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.console_url import console_url
from pipecd.pipectl.name_completion import complete_applications, complete_pipeds
from pipecd.pipectl.names import find_application, find_deployment, find_piped
from pipecd.pipectl.output import (
    Output,
    View,
    echo,
    fields,
    format_age,
    list_view,
    page_options,
    show,
    view_options,
)
from pipecd.pipectl.unsupported import unsupported_means
from pipecd.pipectl.values import (
    FINAL_STATUSES,
    complete_kinds,
    complete_statuses,
    kinds_option,
    parse_kind,
    parse_kinds,
    parse_pairs,
    parse_statuses,
    status_name,
)
from pipecd.pipectl.waiting import poll_until
from pipecd.printable import printable
from pipecd.schema.api import applications_pb2 as api
from pipecd.schema.api.commands_pb2 import GetCommandRequest
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest
from pipecd.schema.model.application_pb2 import Application, ApplicationSyncState, ApplicationSyncStatus
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.strategy_pb2 import SyncStrategy
from pipecd.schema.pipecd.v1.console_pb2 import RollBackToRequest, UnpinRequest
from pipecd.schema.pipecd.v1.program_pb2 import AddApplicationRequest
from pipecd.wire import has_number, kind_from, kind_number, provider_from

_ID = click.option(
    "--app-id", required=True, shell_complete=complete_applications, help="Application id or name."
)


@click.command()
@click.option("--app-name", required=True, help="Application name.")
@click.option(
    "--app-kind",
    required=True,
    shell_complete=complete_kinds,
    help="Kind of the application, such as TERRAFORM.",
)
@click.option(
    "--piped-id",
    required=True,
    shell_complete=complete_pipeds,
    help="Id or name of the piped that deploys the application.",
)
@click.option("--platform-provider", required=True, help="A platform provider configured in the piped.")
@click.option("--repo-id", required=True, help="Id of a repository configured in the piped.")
@click.option("--app-dir", required=True, help="Path of the application's directory in the repository.")
@click.option(
    "--config-file-name",
    default="app.pipecd.yaml",
    show_default=True,
    help="Name of the configuration file in the directory.",
)
@click.option("--description", default="", help="Description of the application.")
@click.option("--labels", multiple=True, metavar="K=V,…", help="Labels of the application.")
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
    if app_dir.startswith("/") or len(app_dir) < 2:  # Every control plane validates this.
        raise click.UsageError(
            f"--app-dir: {app_dir!r} must be a directory relative to the repository root, such as apps/shop"
        )
    kind = parse_kind(app_kind, "--app-kind")
    path = ApplicationGitPath(
        repo=ApplicationGitRepository(id=repo_id), path=app_dir, config_filename=config_file_name
    )
    request = api.AddApplicationRequest(
        name=app_name,
        piped_id=await find_piped(client, piped_id),
        git_path=path,
        kind=kind_number(kind),
        platform_provider=platform_provider,
        description=description,
        labels=parse_pairs(labels, "=", "--labels"),
    )
    response = await add_application(client, request, kind)
    echo(f"Successfully added application id = {response.application_id}")
    await _echo_console_url(client, f"/applications/{response.application_id}")


async def add_application(
    client: Client, request: api.AddApplicationRequest, kind: str
) -> api.AddApplicationResponse:
    """Register an application of any kind."""
    if has_number(kind):
        return await client.call(client.api.AddApplication, request)
    with unsupported_means(
        f"this control plane cannot add {kind} applications for an API key; add it in its console,"
        " as an application with plugins"
    ):
        return await client.call(
            client.program.AddApplication, AddApplicationRequest(application=request, kind=kind)
        )


@click.command()
@_ID
@view_options
@with_client
async def get(client: Client, *, app_id: str, output: Output) -> None:
    """Show one application."""
    request = api.GetApplicationRequest(application_id=await find_application(client, app_id))
    # Programs get the record alone.
    url = "" if output.for_programs else await console_url(client, f"/applications/{request.application_id}")

    async def fetch() -> Application:
        return (await client.call(client.api.GetApplication, request)).application

    await show(client.clock, fetch, lambda application: _details(application, url), output)


def _details(application: Application, url: str) -> View:
    details = [
        ("Name", application.name),
        ("Id", application.id),
        ("Kind", kind_from(application)),
        ("Piped", application.piped_id),
        ("Provider", provider_from(application)),
        ("Repository", application.git_path.repo.id),
        ("Directory", application.git_path.path),
        ("Labels", _labels(application)),
        ("Description", application.description),
        ("Status", _status(application)),
        ("Reason", _reason(application.sync_state)),
        ("Running commit", application.most_recently_successful_deployment.trigger.commit.hash),
        ("Pinned", _pinned(application)),
        ("Last deployment", application.most_recently_triggered_deployment.deployment_id),
        ("Console", url),
    ]
    return View(parts=[fields(details)])


def _reason(state: ApplicationSyncState) -> str:
    """The whole reason, unless it is the differences, which have many lines."""
    if state.status in (ApplicationSyncStatus.INVALID_CONFIG, ApplicationSyncStatus.UNKNOWN):
        return state.reason or state.short_reason
    return state.short_reason


@click.command("list")
@click.option("--app-name", default="", help="Only applications with this name.")
@kinds_option
@click.option(
    "--piped-id",
    default="",
    shell_complete=complete_pipeds,
    help="Only applications of the piped with this id or name.",
)
@switch("--disabled", "List disabled and deleted applications instead.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY:VALUE", help="Only applications with this label."
)
@page_options(10)
@view_options
@with_client
async def list_command(
    client: Client,
    *,
    app_name: str,
    kinds: tuple[str, ...],
    piped_id: str,
    disabled: bool,
    labels: tuple[str, ...],
    cursor: str,
    limit: int,
    output: Output,
) -> None:
    """List applications, most recently changed first."""
    request = api.ListApplicationsRequest(
        name=app_name,
        # The field is one kind; pipecd's control plane accepts a list too.
        kind=",".join(parse_kinds(kinds, "--app-kind")),
        piped_id=await find_piped(client, piped_id),
        disabled=disabled,
        labels=parse_pairs(labels, ":", "--label"),
        limit=limit,
        cursor=cursor,
    )

    async def fetch() -> api.ListApplicationsResponse:
        return await client.call(client.api.ListApplications, request)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: api.ListApplicationsResponse, output: Output) -> View:
    columns = ["ID", "NAME", "KIND", "STATUS", "LABELS", "CHANGED"]
    rows = [
        [
            output.id(application.id),
            application.name,
            kind_from(application),
            _status(application),
            _labels(application),
            format_age(application.updated_at),
        ]
        for application in response.applications
    ]
    if output.wide:
        columns += ["PIPED", "PROVIDER", "REPOSITORY", "DIRECTORY"]
        for row, application in zip(rows, response.applications, strict=True):
            path = application.git_path
            row += [application.piped_id, provider_from(application), path.repo.id, path.path]
    empty = "No applications match. Register one with `pipectl application add`."
    return list_view(columns, rows, empty=empty, cursor=response.cursor)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """How a command waits for its deployment. `targets` are statuses; times are in seconds."""

    targets: Sequence[int]
    interval: float
    timeout: float


def _waits(run: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that triggers a deployment; `run` gets them as `wait`."""

    @click.option(
        "--wait-status",
        multiple=True,
        shell_complete=complete_statuses,
        help="Wait until the deployment has one of these statuses.",
    )
    @click.option(
        "--check-interval", type=Duration(), default="15s", show_default=True, help="Polling interval."
    )
    @click.option("--timeout", type=Duration(), default="5m", show_default=True, help="Maximum time to wait.")
    @functools.wraps(run)
    def callback(wait_status: tuple[str, ...], check_interval: float, timeout: float, **options: Any) -> None:
        targets = parse_statuses(wait_status, "--wait-status")
        run(wait=Wait(targets=targets, interval=check_interval, timeout=timeout), **options)

    return callback


async def _wait_for_deployment(
    client: Client, command_id: str, what: str, wait: Wait, *, done: str = "Successfully"
) -> None:
    """Wait until the agent has triggered the deployment, print its id, and wait for its status.

    `what` is what was requested; `done` the beginning of the sentence with the id.
    """
    echo(f"Requested {what} (command {command_id}), waiting for the piped", err=True)
    # pipecd's agent handles the command within a second, PipeCD's within ten.
    command = await wait_for_command(
        client,
        command_id,
        what.replace("a ", "the ", 1),
        interval=min(wait.interval, 2.0),
        timeout=wait.timeout,
    )
    deployment_id = command.metadata["TriggeredDeploymentID"]
    echo(f"{done} triggered deployment {deployment_id}")
    await _echo_console_url(client, f"/deployments/{deployment_id}")
    if wait.targets:
        await wait_for_status(
            client, deployment_id, wait.targets, interval=wait.interval, timeout=wait.timeout
        )


@click.command()
@_ID
@_waits
@with_client
async def sync(client: Client, *, app_id: str, wait: Wait) -> None:
    """Deploy the head commit and print the deployment id."""
    request = api.SyncApplicationRequest(application_id=await find_application(client, app_id))
    command_id = (await client.call(client.api.SyncApplication, request)).command_id
    await _wait_for_deployment(client, command_id, "a sync", wait)


@click.command()
@_ID
@click.option(
    "--deployment-id", required=True, help="Id, or its beginning, of an earlier deployment that succeeded."
)
@click.option("--reason", default="", help="Shown with the pin in the console.")
@click.option("--for", "duration", type=Duration(), default=None, help="Remove the pin after this time.")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "quick-sync", "pipeline"]),
    default="auto",
    show_default=True,
    help="How to deploy: as for a commit, all at once, or by the pipeline.",
)
@_waits
@with_client
async def rollback(
    client: Client,
    *,
    app_id: str,
    deployment_id: str,
    reason: str,
    duration: float | None,
    strategy: str,
    wait: Wait,
) -> None:
    """Deploy the commit of an earlier deployment again, and pin the application to it.

    While it is pinned, no commit and no drift triggers a deployment. `unpin` removes the pin.
    """
    request = RollBackToRequest(
        deployment_id=await find_deployment(client, deployment_id, ""),
        reason=reason,
        until=int(client.clock.now() + duration) if duration else 0,
        sync_strategy=SyncStrategy.Value(strategy.upper().replace("-", "_")),
    )
    app_id = await find_application(client, app_id)
    target = GetDeploymentRequest(deployment_id=request.deployment_id)
    deployed = (await client.call(client.api.GetDeployment, target)).deployment.application_id
    if deployed != app_id:
        raise Conflict(f"deployment {request.deployment_id} is of another application, {deployed}")
    command_id = (await client.call(client.program.RollBackTo, request)).command_id
    done = "Pinned the application; successfully"
    await _wait_for_deployment(client, command_id, "a rollback", wait, done=done)


@click.command()
@_ID
@with_client
async def unpin(client: Client, *, app_id: str) -> None:
    """Remove the pin of a rollback: the newest commit is deployed again."""
    request = UnpinRequest(application_id=await find_application(client, app_id))
    await client.call(client.program.Unpin, request)
    echo(f"Removed the pin of application id = {request.application_id}")


async def wait_for_command(
    client: Client, command_id: str, what: str, *, interval: float = 2.0, timeout: float = 300.0
) -> Command:
    """Wait until the agent has handled the command. Raises Conflict, with the reason, if it failed."""
    command = await poll_until(
        lambda: _get_handled_command(client, command_id),
        client.clock,
        interval=interval,
        timeout=timeout,
        what="the piped did not handle the command",
    )
    if command.status != CommandStatus.COMMAND_SUCCEEDED:
        reason = command.metadata.get("reason") or CommandStatus.Name(command.status)
        raise Conflict(f"{what} failed: {printable(reason)}")
    return command


async def _get_handled_command(client: Client, command_id: str) -> Command | None:
    command = (await client.call(client.api.GetCommand, GetCommandRequest(command_id=command_id))).command
    return None if command.status == CommandStatus.COMMAND_NOT_HANDLED_YET else command


async def wait_for_status(
    client: Client, deployment_id: str, targets: Sequence[int], *, interval: float, timeout: float
) -> None:
    """Wait until the deployment has a status of `targets`. Raises Conflict if it ends with another."""
    last_status = ""

    async def check_status() -> bool | None:
        nonlocal last_status
        request = GetDeploymentRequest(deployment_id=deployment_id)
        deployment = (await client.call(client.api.GetDeployment, request)).deployment
        name = status_name(deployment.status)
        if name != last_status:
            echo(f"Deployment {deployment_id} is {name}", err=True)
            last_status = name
        if deployment.status in targets:
            return True
        if deployment.status in FINAL_STATUSES:
            reason = printable(deployment.status_reason)
            raise Conflict(f"deployment {deployment_id} ended as {name}: {reason}")
        return None

    what = f"deployment {deployment_id} did not reach the requested status"
    await poll_until(check_status, client.clock, interval=interval, timeout=timeout, what=what)
    echo(f"Deployment {deployment_id} is at {last_status} status")


@click.command()
@_ID
@with_client
async def enable(client: Client, *, app_id: str) -> None:
    """Enable an application: the piped deploys it."""
    request = api.EnableApplicationRequest(application_id=await find_application(client, app_id))
    await client.call(client.api.EnableApplication, request)
    echo(f"Successfully enabled application id = {request.application_id}")


@click.command()
@_ID
@with_client
async def disable(client: Client, *, app_id: str) -> None:
    """Disable an application: the piped stops deploying it."""
    request = api.DisableApplicationRequest(application_id=await find_application(client, app_id))
    await client.call(client.api.DisableApplication, request)
    echo(f"Successfully disabled application id = {request.application_id}")


@click.command()
@_ID
@with_client
async def delete(client: Client, *, app_id: str) -> None:
    """Delete an application. Its deployed resources are kept. Deleting it again is no error."""
    request = api.DeleteApplicationRequest(application_id=await find_application(client, app_id))
    await client.call(client.api.DeleteApplication, request)
    echo(f"Successfully deleted application id = {request.application_id}")


async def _echo_console_url(client: Client, path: str) -> None:
    """Print the page's URL to standard error: standard output contains only the result."""
    if url := await console_url(client, path):
        echo(f"See {url}", err=True)


def _labels(application: Application) -> str:
    return ",".join(f"{key}:{application.labels[key]}" for key in sorted(application.labels))


def _pinned(application: Application) -> str:
    pin = application.pin
    if not application.HasField("pin") or 0 < pin.until <= time.time():
        return ""
    until = f" until {datetime.fromtimestamp(pin.until, UTC):%Y-%m-%d %H:%M} UTC" if pin.until else ""
    reason = f": {pin.reason}" if pin.reason else ""
    return f"to {pin.commit_hash[:7]} by {pin.by}{until}{reason}"


def _status(application: Application) -> str:
    if application.deleted:
        return "DELETED"
    if application.disabled:
        return "DISABLED"
    return "DEPLOYING" if application.deploying else ApplicationSyncStatus.Name(application.sync_state.status)

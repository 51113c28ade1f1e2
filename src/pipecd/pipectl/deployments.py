"""`pipectl deployment …`: list, get and wait for deployments; `logs` is in `pipectl.logs`."""

from collections.abc import Callable
from typing import Any

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.errors import Conflict
from pipecd.pipectl.applications import wait_for_command, wait_for_status
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.console_url import console_url
from pipecd.pipectl.name_completion import complete_applications
from pipecd.pipectl.names import find_applications, find_deployment
from pipecd.pipectl.output import (
    Output,
    View,
    echo,
    fields,
    format_age,
    list_view,
    page_options,
    show,
    table,
    view_options,
)
from pipecd.pipectl.values import (
    FINAL_STATUSES,
    complete_statuses,
    kinds_option,
    parse_kinds,
    parse_list,
    parse_pairs,
    parse_statuses,
    status_name,
)
from pipecd.schema.api.deployments_pb2 import (
    GetDeploymentRequest,
    ListDeploymentsRequest,
    ListDeploymentsResponse,
)
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import ManualOperation, StageStatus
from pipecd.schema.pipecd.v1.console_pb2 import RejectStageRequest
from pipecd.schema.web.deployments_pb2 import ApproveStageRequest
from pipecd.wire import is_rollback

#: The agent answers a rejection once the rollback has ended (seconds).
_ROLLBACK_TIMEOUT = 3600.0


def deployment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--deployment-id` and `--app-id`; the command passes both to `names.find_deployment`."""
    application = click.option(
        "--app-id",
        default="",
        shell_complete=complete_applications,
        help="Application id or name: its most recent deployment, instead of an id.",
    )
    return click.option("--deployment-id", default="", help="Deployment id.")(application(command))


@click.command("list")
@click.option(
    "--status", "status", multiple=True, shell_complete=complete_statuses, help="Status, such as RUNNING."
)
@click.option(
    "--app-id",
    "app_ids",
    multiple=True,
    shell_complete=complete_applications,
    help="Only deployments of the applications with these ids or names.",
)
@kinds_option
@click.option("--app-name", default="", help="Only applications with this name.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY:VALUE", help="Only deployments with this label."
)
@page_options()
@view_options
@with_client
async def list_command(
    client: Client,
    *,
    status: tuple[str, ...],
    app_ids: tuple[str, ...],
    kinds: tuple[str, ...],
    app_name: str,
    labels: tuple[str, ...],
    cursor: str,
    limit: int,
    output: Output,
) -> None:
    """List deployments, most recently changed first."""
    request = ListDeploymentsRequest(
        statuses=[DeploymentStatus.Name(number) for number in parse_statuses(status, "--status")],
        kinds=parse_kinds(kinds, "--app-kind"),
        application_ids=await find_applications(client, parse_list(app_ids)),
        application_name=app_name,
        labels=parse_pairs(labels, ":", "--label"),
        limit=limit,
        cursor=cursor,
    )

    async def fetch() -> ListDeploymentsResponse:
        return await client.call(client.api.ListDeployments, request)

    await show(client.clock, fetch, lambda response: _list_view(response, output), output)


def _list_view(response: ListDeploymentsResponse, output: Output) -> View:
    columns = ["ID", "APPLICATION", "STATUS", "COMMIT", "SUMMARY", "CREATED"]
    rows = [
        [
            output.id(deployment.id),
            deployment.application_name,
            status_name(deployment.status),
            deployment.trigger.commit.hash[:7],
            deployment.summary,
            format_age(deployment.created_at),
        ]
        for deployment in response.deployments
    ]
    if output.wide:
        columns += ["TRIGGERED BY", "REASON"]
        for row, deployment in zip(rows, response.deployments, strict=True):
            row += [_triggered_by(deployment), deployment.status_reason]
    return list_view(columns, rows, empty="No deployments match.", cursor=response.cursor)


def _triggered_by(deployment: Deployment) -> str:
    return deployment.trigger.commander or deployment.trigger.commit.author


@click.command()
@deployment_options
@view_options
@with_client
async def get(client: Client, *, deployment_id: str, app_id: str, output: Output) -> None:
    """Show one deployment and its stages."""
    id = await find_deployment(client, deployment_id, app_id)
    # Programs get the record alone.
    url = "" if output.for_programs else await console_url(client, f"/deployments/{id}")
    request = GetDeploymentRequest(deployment_id=id)

    async def fetch() -> Deployment:
        return (await client.call(client.api.GetDeployment, request)).deployment

    await show(client.clock, fetch, lambda deployment: _details(deployment, url), output)


def _details(deployment: Deployment, url: str) -> View:
    commit = deployment.trigger.commit
    message = commit.message.splitlines()[0] if commit.message else ""
    details = fields(
        [
            ("Id", deployment.id),
            ("Application", f"{deployment.application_name} ({deployment.application_id})"),
            ("Status", status_name(deployment.status)),
            ("Reason", deployment.status_reason),
            ("Summary", deployment.summary),
            ("Commit", f"{commit.hash[:12]} {message}"),
            ("Triggered by", _triggered_by(deployment)),
            ("Created", format_age(deployment.created_at)),
            ("Console", url),
        ]
    )
    rows = [
        (stage.id, stage.name, StageStatus.Name(stage.status).removeprefix("STAGE_"), stage.status_reason)
        for stage in deployment.stages
        if not is_rollback(stage) or stage.status != StageStatus.STAGE_NOT_STARTED_YET
    ]
    stages = table(("STAGE", "NAME", "STATUS", "REASON"), rows)
    final = deployment.status in FINAL_STATUSES
    if stages is None:
        return View(parts=[details], notes=["The deployment is not planned yet."], final=final)
    return View(parts=[details, "", stages], final=final)


@click.command("wait-status")
@deployment_options
@click.option(
    "--status",
    "status",
    multiple=True,
    required=True,
    shell_complete=complete_statuses,
    help="Status, such as SUCCESS.",
)
@click.option("--check-interval", type=Duration(), default="15s", show_default=True, help="Polling interval.")
@click.option("--timeout", type=Duration(), default="15m", show_default=True, help="Maximum time to wait.")
@with_client
async def wait_status(
    client: Client,
    *,
    deployment_id: str,
    app_id: str,
    status: tuple[str, ...],
    check_interval: float,
    timeout: float,
) -> None:
    """Wait until the deployment has one of the statuses. Fails if it ends with another."""
    targets = parse_statuses(status, "--status")
    id = await find_deployment(client, deployment_id, app_id)
    await wait_for_status(client, id, targets, interval=check_interval, timeout=timeout)


_STAGE_ID = click.option(
    "--stage-id", default="", help="Id of the stage, if several wait for approval at the same time."
)
_COMMENT = click.option("--comment", default="", help="Shown beside the decision in the console.")


@click.command()
@deployment_options
@_STAGE_ID
@_COMMENT
@with_client
async def approve(client: Client, *, deployment_id: str, app_id: str, stage_id: str, comment: str) -> None:
    """Approve the stage of a deployment that waits for approval. A stage may name who can approve it."""
    id = await find_deployment(client, deployment_id, app_id)
    stage_id = stage_id or await _find_waiting_stage(client, id)
    request = ApproveStageRequest(deployment_id=id, stage_id=stage_id, comment=comment)
    command_id = (await client.call(client.program.ApproveStage, request)).command_id
    await wait_for_command(client, command_id, "the approval")
    echo(f"Approved stage {stage_id} of deployment {id}")


@click.command()
@deployment_options
@_STAGE_ID
@_COMMENT
@with_client
async def reject(client: Client, *, deployment_id: str, app_id: str, stage_id: str, comment: str) -> None:
    """Reject a deployment that waits for approval: it is cancelled, and rolled back as it configures."""
    id = await find_deployment(client, deployment_id, app_id)
    stage_id = stage_id or await _find_waiting_stage(client, id)
    request = RejectStageRequest(deployment_id=id, stage_id=stage_id, comment=comment)
    command_id = (await client.call(client.program.RejectStage, request)).command_id
    await wait_for_command(client, command_id, "the rejection", timeout=_ROLLBACK_TIMEOUT)
    echo(f"Rejected deployment {id}")


async def _find_waiting_stage(client: Client, deployment_id: str) -> str:
    request = GetDeploymentRequest(deployment_id=deployment_id)
    deployment = (await client.call(client.api.GetDeployment, request)).deployment
    waiting = [
        stage.id
        for stage in deployment.stages
        if stage.status == StageStatus.STAGE_RUNNING
        and (
            stage.name == "WAIT_APPROVAL"
            or stage.available_operation == ManualOperation.MANUAL_OPERATION_APPROVE
        )
    ]
    if not waiting:
        raise Conflict(
            f"no stage of deployment {deployment_id} waits for approval;"
            f" it is {status_name(deployment.status)}"
        )
    if len(waiting) > 1:
        raise Conflict(f"several stages wait for approval; name one by --stage-id: {', '.join(waiting)}")
    return waiting[0]

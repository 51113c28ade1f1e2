"""`pipectl deployment …`, but for its logs."""

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.pipectl.applications import wait_for_status
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import ago, as_json, facts, output_option, table
from pipecd.pipectl.values import KINDS, pairs, status_name, statuses, words
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest, ListDeploymentsRequest
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus

_ID = click.option("--deployment-id", required=True, help="The deployment's id.")


@click.command("list")
@click.option("--status", "status", multiple=True, help="Such as RUNNING; several are allowed.")
@click.option("--app-id", "app_ids", multiple=True)
@click.option("--app-kind", "kinds", type=KINDS, multiple=True)
@click.option("--app-name", default="")
@click.option("--label", "labels", multiple=True, metavar="KEY:VALUE")
@click.option("--cursor", default="", help="Go on after the page before.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 200))
@output_option
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
    output: str,
) -> None:
    """List deployments, those changed last first."""
    request = ListDeploymentsRequest(
        statuses=[DeploymentStatus.Name(one) for one in statuses(status, "--status")],
        kinds=kinds,
        application_ids=words(app_ids),
        application_name=app_name,
        labels=pairs(labels, ":", "--label"),
        limit=limit,
        cursor=cursor,
    )
    answer = await client.call(client.api.ListDeployments, request)
    if output == "json":
        as_json(answer)
        return
    rows = (
        (
            one.id,
            one.application_name,
            status_name(one.status),
            one.trigger.commit.hash[:7],
            one.summary,
            ago(one.created_at),
        )
        for one in answer.deployments
    )
    table(
        ("ID", "APPLICATION", "STATUS", "COMMIT", "SUMMARY", "CREATED"), rows, empty="No deployment matches."
    )
    if answer.cursor:
        click.echo(f"\nThere are more: --cursor={answer.cursor}", err=True)


@click.command()
@_ID
@output_option
@with_client
async def get(client: Client, *, deployment_id: str, output: str) -> None:
    """Show one deployment and its stages."""
    deployment = await _deployment(client, deployment_id)
    if output == "json":
        as_json(deployment)
        return
    commit = deployment.trigger.commit
    message = commit.message.splitlines()[0] if commit.message else ""
    facts(
        [
            ("Id", deployment.id),
            ("Application", f"{deployment.application_name} ({deployment.application_id})"),
            ("Status", status_name(deployment.status)),
            ("Reason", deployment.status_reason),
            ("Summary", deployment.summary),
            ("Commit", f"{commit.hash[:12]} {message}"),
            ("Triggered by", deployment.trigger.commander or commit.author),
            ("Created", ago(deployment.created_at)),
        ]
    )
    click.echo()
    rows = (
        (one.id, one.name, StageStatus.Name(one.status).removeprefix("STAGE_"), one.status_reason)
        for one in deployment.stages
        if one.visible
    )
    table(("STAGE", "NAME", "STATUS", "REASON"), rows, empty="It is not planned yet.")


@click.command("wait-status")
@_ID
@click.option(
    "--status", "status", multiple=True, required=True, help="Such as SUCCESS; several are allowed."
)
@click.option("--check-interval", type=Duration(), default="15s", show_default=True)
@click.option("--timeout", type=Duration(), default="15m", show_default=True)
@with_client
async def wait_status(
    client: Client, *, deployment_id: str, status: tuple[str, ...], check_interval: float, timeout: float
) -> None:
    """Wait until the deployment has one of the statuses; fails when it ends with another."""
    wanted = statuses(status, "--status")
    await wait_for_status(client, deployment_id, wanted, interval=check_interval, timeout=timeout)


async def _deployment(client: Client, deployment_id: str) -> Deployment:
    request = GetDeploymentRequest(deployment_id=deployment_id)
    return (await client.call(client.api.GetDeployment, request)).deployment

"""`pipectl deployment …`: list, get and wait for deployments; `logs` is in `pipectl.logs`."""

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.pipectl.applications import wait_for_status
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import format_age, output_option, print_fields, print_json, print_table
from pipecd.pipectl.values import parse_kinds, parse_list, parse_pairs, parse_statuses, status_name
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest, ListDeploymentsRequest
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus

_ID = click.option("--deployment-id", required=True, help="Deployment id.")


@click.command("list")
@click.option("--status", "status", multiple=True, help="Status, such as RUNNING.")
@click.option("--app-id", "app_ids", multiple=True, help="Only deployments of this application.")
@click.option("--app-kind", "kinds", multiple=True, help="Only applications of this kind, such as TERRAFORM.")
@click.option("--app-name", default="", help="Only applications with this name.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY:VALUE", help="Only deployments with this label."
)
@click.option("--cursor", default="", help="Continue after the previous page.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 200), help="Length of a page.")
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
    """List deployments, most recently changed first."""
    request = ListDeploymentsRequest(
        statuses=[DeploymentStatus.Name(number) for number in parse_statuses(status, "--status")],
        kinds=parse_kinds(kinds, "--app-kind"),
        application_ids=parse_list(app_ids),
        application_name=app_name,
        labels=parse_pairs(labels, ":", "--label"),
        limit=limit,
        cursor=cursor,
    )
    response = await client.call(client.api.ListDeployments, request)
    if output == "json":
        print_json(response)
        return
    rows = (
        (
            deployment.id,
            deployment.application_name,
            status_name(deployment.status),
            deployment.trigger.commit.hash[:7],
            deployment.summary,
            format_age(deployment.created_at),
        )
        for deployment in response.deployments
    )
    print_table(
        ("ID", "APPLICATION", "STATUS", "COMMIT", "SUMMARY", "CREATED"), rows, empty="No deployments match."
    )
    if response.cursor:
        click.echo(f"\nNext page: --cursor={response.cursor}", err=True)


@click.command()
@_ID
@output_option
@with_client
async def get(client: Client, *, deployment_id: str, output: str) -> None:
    """Show one deployment and its stages."""
    deployment = await _get_deployment(client, deployment_id)
    if output == "json":
        print_json(deployment)
        return
    commit = deployment.trigger.commit
    message = commit.message.splitlines()[0] if commit.message else ""
    print_fields(
        [
            ("Id", deployment.id),
            ("Application", f"{deployment.application_name} ({deployment.application_id})"),
            ("Status", status_name(deployment.status)),
            ("Reason", deployment.status_reason),
            ("Summary", deployment.summary),
            ("Commit", f"{commit.hash[:12]} {message}"),
            ("Triggered by", deployment.trigger.commander or commit.author),
            ("Created", format_age(deployment.created_at)),
        ]
    )
    click.echo()
    rows = (
        (stage.id, stage.name, StageStatus.Name(stage.status).removeprefix("STAGE_"), stage.status_reason)
        for stage in deployment.stages
        if stage.visible
    )
    print_table(("STAGE", "NAME", "STATUS", "REASON"), rows, empty="The deployment is not planned yet.")


@click.command("wait-status")
@_ID
@click.option("--status", "status", multiple=True, required=True, help="Status, such as SUCCESS.")
@click.option("--check-interval", type=Duration(), default="15s", show_default=True, help="Polling interval.")
@click.option("--timeout", type=Duration(), default="15m", show_default=True, help="Maximum time to wait.")
@with_client
async def wait_status(
    client: Client, *, deployment_id: str, status: tuple[str, ...], check_interval: float, timeout: float
) -> None:
    """Wait until the deployment has one of the statuses. Fails if it ends with another."""
    targets = parse_statuses(status, "--status")
    await wait_for_status(client, deployment_id, targets, interval=check_interval, timeout=timeout)


async def _get_deployment(client: Client, deployment_id: str) -> Deployment:
    request = GetDeploymentRequest(deployment_id=deployment_id)
    return (await client.call(client.api.GetDeployment, request)).deployment

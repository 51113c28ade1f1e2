"""`pipectl deployment logs`: what the stages said, once or as long as the deployment goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import as_json, output_option
from pipecd.pipectl.values import ENDED, status_name
from pipecd.pipectl.waiting import wait_for
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest
from pipecd.schema.api.logs_pb2 import ListStageLogsRequest, ListStageLogsResponse, StageLog
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock, LogSeverity
from pipecd.schema.model.stage_pb2 import StageStatus

#: How often a log that is followed is asked for (seconds).
INTERVAL = 1.0


@click.command()
@click.option("--deployment-id", required=True, help="The deployment's id.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the deployment has ended.")
@click.option("--timeout", type=Duration(), default="6h", show_default=True, help="Follow no longer.")
@output_option
@with_client
async def logs(client: Client, *, deployment_id: str, follow: bool, timeout: float, output: str) -> None:
    """Print what the stages said, one after another."""
    if follow and output == "json":
        raise click.UsageError("--follow prints text; leave out -o json")
    if follow:
        await _follow(client, deployment_id, timeout)
        return
    deployment, found = await _read(client, deployment_id)
    if output == "json":
        as_json(found)
        return
    for stage in deployment.stages:
        if stage.id in found.stage_logs:
            click.echo(f"[{stage.name}] {StageStatus.Name(stage.status).removeprefix('STAGE_')}")
            for block in found.stage_logs[stage.id].blocks:
                _print(block)
            click.echo()


@dataclass
class Followed:
    """What was printed already: indices of blocks by stage, and the stage that spoke last."""

    seen: dict[str, set[int]] = field(default_factory=dict)
    speaker: str = ""

    def tell(self, deployment: Deployment, found: Mapping[str, StageLog]) -> None:
        """Prints what is new, under the name of its stage."""
        for stage in deployment.stages:
            if stage.id not in found:
                continue
            seen = self.seen.setdefault(stage.id, set())
            for block in found[stage.id].blocks:
                if block.index in seen:
                    continue
                seen.add(block.index)
                if self.speaker != stage.id:
                    click.echo(f"[{stage.name}]")
                    self.speaker = stage.id
                _print(block)


async def _follow(client: Client, deployment_id: str, timeout: float) -> None:
    followed = Followed()

    async def look() -> Deployment | None:
        deployment, found = await _read(client, deployment_id)
        followed.tell(deployment, found.stage_logs)
        return deployment if deployment.status in ENDED else None

    what = f"deployment {deployment_id} did not end"
    ended = await wait_for(look, interval=INTERVAL, timeout=timeout, what=what)
    reason = f": {ended.status_reason}" if ended.status_reason else ""
    click.echo(f"Deployment {deployment_id} ended as {status_name(ended.status)}{reason}", err=True)


async def _read(client: Client, deployment_id: str) -> tuple[Deployment, ListStageLogsResponse]:
    """The status first: what a deployment said before its end is then among the logs."""
    request = GetDeploymentRequest(deployment_id=deployment_id)
    deployment = (await client.call(client.api.GetDeployment, request)).deployment
    wanted = ListStageLogsRequest(deployment_id=deployment_id)
    return deployment, await client.call(client.api.ListStageLogs, wanted)


def _print(block: LogBlock) -> None:
    mark = "ERROR " if block.severity == LogSeverity.ERROR else ""
    click.echo(f"{mark}{block.log}", nl=not block.log.endswith("\n"))

"""`pipectl deployment logs`: print stage logs, once or until the deployment ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.deployments import deployment_options
from pipecd.pipectl.names import find_deployment
from pipecd.pipectl.output import output_option, print_json
from pipecd.pipectl.values import FINAL_STATUSES, status_name
from pipecd.pipectl.waiting import poll_until
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest
from pipecd.schema.api.logs_pb2 import ListStageLogsRequest, ListStageLogsResponse, StageLog
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock, LogSeverity
from pipecd.schema.model.stage_pb2 import StageStatus

#: Interval between two reads of a followed log, in seconds.
FOLLOW_INTERVAL = 1.0


@click.command()
@deployment_options
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the deployment ends.")
@click.option("--timeout", type=Duration(), default="6h", show_default=True, help="Maximum time to follow.")
@output_option("table", "json")
@with_client
async def logs(
    client: Client, *, deployment_id: str, app_id: str, follow: bool, timeout: float, output: str
) -> None:
    """Print the logs of a deployment's stages, in order."""
    if follow and output == "json":
        raise click.UsageError("--follow cannot be combined with -o json")
    deployment_id = await find_deployment(client, deployment_id, app_id)
    if follow:
        await _follow(client, deployment_id, timeout)
        return
    deployment, logs_by_stage = await _read(client, deployment_id)
    if output == "json":
        print_json(logs_by_stage)
        return
    for stage in deployment.stages:
        if stage.id in logs_by_stage.stage_logs:
            click.echo(f"[{stage.name}] {StageStatus.Name(stage.status).removeprefix('STAGE_')}")
            for block in logs_by_stage.stage_logs[stage.id].blocks:
                _print(block)
            click.echo()


@dataclass
class LogFollower:
    """Prints new log blocks. Remembers the indices of printed blocks by stage, and the stage printed last."""

    printed: dict[str, set[int]] = field(default_factory=dict)
    last_stage_id: str = ""

    def print_new(self, deployment: Deployment, stage_logs: Mapping[str, StageLog]) -> None:
        """Print the blocks not printed yet, under the name of their stage."""
        for stage in deployment.stages:
            if stage.id not in stage_logs:
                continue
            printed = self.printed.setdefault(stage.id, set())
            for block in stage_logs[stage.id].blocks:
                if block.index in printed:
                    continue
                printed.add(block.index)
                if self.last_stage_id != stage.id:
                    click.echo(f"[{stage.name}]")
                    self.last_stage_id = stage.id
                _print(block)


async def _follow(client: Client, deployment_id: str, timeout: float) -> None:
    follower = LogFollower()

    async def print_new_blocks() -> Deployment | None:
        deployment, response = await _read(client, deployment_id)
        follower.print_new(deployment, response.stage_logs)
        return deployment if deployment.status in FINAL_STATUSES else None

    what = f"deployment {deployment_id} did not end"
    ended = await poll_until(
        print_new_blocks, client.clock, interval=FOLLOW_INTERVAL, timeout=timeout, what=what
    )
    reason = f": {ended.status_reason}" if ended.status_reason else ""
    click.echo(f"Deployment {deployment_id} ended as {status_name(ended.status)}{reason}", err=True)


async def _read(client: Client, deployment_id: str) -> tuple[Deployment, ListStageLogsResponse]:
    """Read the status before the logs: the logs of an ended deployment are then complete."""
    request = GetDeploymentRequest(deployment_id=deployment_id)
    deployment = (await client.call(client.api.GetDeployment, request)).deployment
    logs_request = ListStageLogsRequest(deployment_id=deployment_id)
    return deployment, await client.call(client.api.ListStageLogs, logs_request)


def _print(block: LogBlock) -> None:
    prefix = "ERROR " if block.severity == LogSeverity.ERROR else ""
    click.echo(f"{prefix}{block.log}", nl=not block.log.endswith("\n"))

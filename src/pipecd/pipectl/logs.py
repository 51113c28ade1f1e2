"""`pipectl deployment logs`: print stage logs, once or until the deployment ends."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

import click

from pipecd.client import Client
from pipecd.config.flags import Duration
from pipecd.errors import NotFound, Unsupported
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.deployments import deployment_options
from pipecd.pipectl.names import find_deployment
from pipecd.pipectl.output import Output, echo, output_option, print_json
from pipecd.pipectl.values import FINAL_STATUSES, status_name
from pipecd.pipectl.waiting import poll_until
from pipecd.schema.api.deployments_pb2 import GetDeploymentRequest
from pipecd.schema.api.logs_pb2 import ListStageLogsRequest, ListStageLogsResponse, StageLog
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.stage_log_pb2 import LogBlock, LogSeverity
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.web.logs_pb2 import GetStageLogRequest

#: Interval between two reads of a followed log, in seconds.
FOLLOW_INTERVAL = 1.0
#: Is shown only if it has a log.
_ROLLBACK = "ROLLBACK"


@click.command()
@deployment_options
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the deployment ends.")
@click.option("--timeout", type=Duration(), default="6h", show_default=True, help="Maximum time to follow.")
@output_option
@with_client
async def logs(
    client: Client, *, deployment_id: str, app_id: str, follow: bool, timeout: float, output: str
) -> None:
    """Print the logs of a deployment's stages, in order."""
    chosen = Output(format=output)
    if follow and chosen.for_programs:
        raise click.UsageError(f"--follow cannot be combined with -o {output}")
    deployment_id = await find_deployment(client, deployment_id, app_id)
    if follow:
        await _follow(client, deployment_id, timeout)
    elif chosen.for_programs:
        await _print_json(client, deployment_id, chosen)
    else:
        await _print_all(client, deployment_id)


async def _print_all(client: Client, deployment_id: str) -> None:
    reader = LogReader(client)
    deployment = await _get_deployment(client, deployment_id)
    for stage in deployment.stages:
        title = f"[{stage.name}] {StageStatus.Name(stage.status).removeprefix('STAGE_')}"
        if stage.name != _ROLLBACK:
            echo(title)
        started = stage.name != _ROLLBACK
        async for blocks in reader.new_blocks(deployment_id, stage):
            if not started:
                echo(title)
                started = True
            for block in blocks:
                _print(block)
        if started:
            echo()


async def _print_json(client: Client, deployment_id: str, output: Output) -> None:
    reader, response = LogReader(client), ListStageLogsResponse()
    deployment = await _get_deployment(client, deployment_id)
    for stage in deployment.stages:
        if stage.name != _ROLLBACK:
            response.stage_logs[stage.id].SetInParent()
        async for blocks in reader.new_blocks(deployment_id, stage):
            response.stage_logs[stage.id].blocks.extend(blocks)
        if stage.id in reader.completed:
            response.stage_logs[stage.id].completed = True
    print_json(response, output)


@dataclass
class LogReader:
    """Reads logs page by page, each line once. Remembers by stage where to continue, and which logs ended."""

    client: Client
    offsets: dict[str, int] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)
    #: Logs of a control plane that has no pages: PipeCD's, or an older one.
    _whole: Mapping[str, StageLog] | None = None

    async def new_blocks(
        self, deployment_id: str, stage: PipelineStage
    ) -> AsyncGenerator[Sequence[LogBlock]]:
        """The blocks that were not read yet, a page at a time."""
        while stage.id not in self.completed:
            page = await self._read(deployment_id, stage)
            if page.completed:
                self.completed.add(stage.id)
            if not page.blocks:
                return
            self.offsets[stage.id] = max(block.index for block in page.blocks) + 1
            yield page.blocks

    def forget_whole_logs(self) -> None:
        """Read again what a control plane without pages returns at once."""
        self._whole = None

    async def _read(self, deployment_id: str, stage: PipelineStage) -> StageLog:
        offset = self.offsets.get(stage.id, 0)
        if self._whole is None:
            request = GetStageLogRequest(
                deployment_id=deployment_id,
                stage_id=stage.id,
                retried_count=stage.retried_count,
                offset_index=offset,
            )
            try:
                page = await self.client.call(self.client.program.GetStageLog, request)
                return StageLog(blocks=page.blocks, completed=page.completed)
            except NotFound:
                return StageLog()
            except Unsupported:
                all_request = ListStageLogsRequest(deployment_id=deployment_id)
                response = await self.client.call(self.client.api.ListStageLogs, all_request)
                self._whole = response.stage_logs
        stored = self._whole[stage.id] if stage.id in self._whole else StageLog()
        return StageLog(blocks=[block for block in stored.blocks if block.index >= offset])


@dataclass
class LogFollower:
    """Prints new log blocks, under the name of their stage. Remembers the stage printed last."""

    reader: LogReader
    last_stage_id: str = ""

    async def print_new(self, deployment: Deployment) -> None:
        self.reader.forget_whole_logs()
        for stage in deployment.stages:
            async for blocks in self.reader.new_blocks(deployment.id, stage):
                if self.last_stage_id != stage.id:
                    echo(f"[{stage.name}]")
                    self.last_stage_id = stage.id
                for block in blocks:
                    _print(block)


async def _follow(client: Client, deployment_id: str, timeout: float) -> None:
    follower = LogFollower(LogReader(client))

    async def print_new_blocks() -> Deployment | None:
        # The status is read before the logs: the logs of an ended deployment are then complete.
        deployment = await _get_deployment(client, deployment_id)
        await follower.print_new(deployment)
        return deployment if deployment.status in FINAL_STATUSES else None

    what = f"deployment {deployment_id} did not end"
    ended = await poll_until(
        print_new_blocks, client.clock, interval=FOLLOW_INTERVAL, timeout=timeout, what=what
    )
    reason = f": {ended.status_reason}" if ended.status_reason else ""
    echo(f"Deployment {deployment_id} ended as {status_name(ended.status)}{reason}", err=True)


async def _get_deployment(client: Client, deployment_id: str) -> Deployment:
    request = GetDeploymentRequest(deployment_id=deployment_id)
    return (await client.call(client.api.GetDeployment, request)).deployment


def _print(block: LogBlock) -> None:
    prefix = "ERROR " if block.severity == LogSeverity.ERROR else ""
    echo(f"{prefix}{block.log}", newline=not block.log.endswith("\n"))

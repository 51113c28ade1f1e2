"""The spans of a deployment: the deployment, its plan, its stages. Every process gives them the same ids.

The first span of a trace is the click or command that asked for the deployment, or the trigger that saw the
commit. Its context is stored in the metadata of the deployment, where programs of PipeCD ignore it. The spans
of a deployment and of a stage are recorded when they end, by the process that ends them.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from pipecd import tracing
from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.config.piped import PipedSpec
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.progress import STAGE_STARTED_AT
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.trace_export import sending
from pipecd.trace_export.collector import check_installed, connected
from pipecd.trace_export.queue import ExportQueue

log = structlog.get_logger()

#: Shared metadata of a deployment: the span that triggered it (`traceparent`).
TRACE_PARENT = "pipecd/traceparent"


def attributes_of(deployment: Deployment) -> dict[str, str]:
    return {
        "deployment-id": deployment.id,
        "application-id": deployment.application_id,
        "application-name": deployment.application_name,
        "application-kind": deployment.kind,
        "commit": deployment.trigger.commit.hash,
    }


def deployment_span(deployment: Deployment) -> str:
    """The `traceparent` of the deployment's span."""
    return tracing.derived(deployment.id, deployment.shared.get(TRACE_PARENT, ""))


def stage_span(deployment: Deployment, stage: Stage) -> str:
    return tracing.derived(f"{deployment.id}/{stage.id}", deployment_span(deployment))


def record_changes(old: Deployment, new: Deployment, now: float) -> None:
    """Record the spans of the stages that ended with the change, and of the deployment if it ended."""
    if not tracing.enabled():
        return
    before = {stage.id: stage.status for stage in old.stages}
    for stage in new.stages:
        ran = stage.status.final and STAGE_STARTED_AT in stage.metadata
        if ran and not before.get(stage.id, StageStatus.NOT_STARTED).final:
            failed = stage.status is StageStatus.FAILURE
            tracing.record(
                stage.name,
                own=stage_span(new, stage),
                parent=deployment_span(new),
                start=float(stage.metadata[STAGE_STARTED_AT]),
                end=now,
                attributes={
                    **attributes_of(new),
                    "stage-id": stage.id,
                    "status": f"STAGE_{stage.status.name}",
                },
                error=(stage.reason or "failed") if failed else "",
            )
    if new.status.final and not old.status.final:
        failed = new.status is DeploymentStatus.FAILURE
        tracing.record(
            "Deploy",
            own=deployment_span(new),
            parent=new.shared.get(TRACE_PARENT, ""),
            start=new.created_at or new.trigger.timestamp,
            end=now,
            attributes={**attributes_of(new), "status": f"DEPLOYMENT_{new.status.name}"},
            error=(new.reason or "failed") if failed else "",
        )


@contextmanager
def recording(spec: PipedSpec, clock: Clock) -> Iterator[ExportQueue | None]:
    """Record spans while the block runs, if the configuration or the environment says where to send them.

    Yields what `sending_spans` sends. Raises ConfigError.
    """
    if not spec.tracing.through_control_plane and spec.tracing.collector() is None:
        yield None
        return
    check_installed()
    from pipecd.trace_export.tracer import SdkTracer

    queue = ExportQueue(clock)
    resource = {
        "service.namespace": spec.project_id,
        "service.instance.id": spec.piped_id,
        "project-id": spec.project_id,
        "piped-id": spec.piped_id,
    }
    with tracing.installed(SdkTracer("piped", resource, queue)):
        yield queue


@asynccontextmanager
async def sending_spans(
    spec: PipedSpec, queue: ExportQueue, client: Client, clock: Clock
) -> AsyncIterator[None]:
    """Send what is in `queue` while the block runs: through the control plane, or to the collector."""
    if spec.tracing.through_control_plane:
        log.info("traces_exported", endpoint=client.address, protocol="control plane")
        async with sending(queue, client.export_traces, clock):
            yield
        return
    collector = spec.tracing.collector()
    assert collector
    log.info("traces_exported", endpoint=collector.endpoint, protocol=collector.protocol)
    async with connected(collector) as send, sending(queue, send, clock):
        yield

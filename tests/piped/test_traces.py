"""Spans of deployments and stages: recorded by the process that ends them, with ids that all know."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipecd import tracing
from pipecd.clock import SYSTEM_CLOCK
from pipecd.model.deployment import Deployment, Stage
from pipecd.model.progress import STAGE_STARTED_AT
from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.piped.traces import TRACE_PARENT, record_changes, stage_span
from pipecd.trace_export import exporting
from pipecd.trace_export.queue import ExportQueue
from tests.model.samples import deployment
from tests.trace_collector import Span, read_spans
from tests.virtual_clock import VirtualClock

CLICK = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOW = 1_700_000_100.0


def value(**changes: object) -> Deployment:
    stages = (
        Stage(id="stage-0", name="WAIT", index=0, metadata={STAGE_STARTED_AT: f"{NOW - 30}"}),
        Stage(id="stage-1", name="K8S_SYNC", index=1),
    )
    shared = {TRACE_PARENT: CLICK}
    base = replace(deployment(), id="d", stages=stages, shared=shared, created_at=int(NOW) - 60)
    return replace(base, **{"status": DeploymentStatus.RUNNING, **changes})  # type: ignore[arg-type]


def with_stage(base: Deployment, status: StageStatus, reason: str = "") -> Deployment:
    return base.with_stage(replace(base.stages[0], status=status, reason=reason))


async def recorded(act: Callable[[], None]) -> list[Span]:
    """What a process of its own sends."""
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    async with exporting("piped", {}, ExportQueue(SYSTEM_CLOCK), send, VirtualClock()):
        act()
    return read_spans(sent)


async def test_a_stage_that_an_earlier_process_began_has_its_whole_duration() -> None:
    running = with_stage(value(), StageStatus.RUNNING)
    ended = with_stage(running, StageStatus.FAILURE, "no such image")

    def call_of_the_first_process() -> None:
        with tracing.within(stage_span(running, running.stages[0])), tracing.child("run sh"):
            pass

    (call,) = await recorded(call_of_the_first_process)
    (stage,) = await recorded(lambda: record_changes(running, ended, NOW))
    assert (stage.name, stage.seconds, stage.failure) == ("WAIT", 30.0, "no such image")
    assert (call.parent, call.trace) == (stage.id, stage.trace)
    # A report that is repeated records nothing again.
    assert await recorded(lambda: record_changes(ended, ended, NOW)) == []
    end = replace(ended, status=DeploymentStatus.FAILURE, reason="The stage failed")
    (deploy,) = await recorded(lambda: record_changes(ended, end, NOW))
    assert (deploy.name, deploy.id, deploy.seconds) == ("Deploy", stage.parent, 60.0)
    assert (deploy.trace, deploy.parent) == (CLICK[3:35], CLICK[36:52])
    assert deploy.attributes["status"] == "DEPLOYMENT_FAILURE"


@pytest.mark.parametrize(
    ("status", "failure"),
    [(StageStatus.SUCCESS, ""), (StageStatus.CANCELLED, ""), (StageStatus.FAILURE, "failed")],
)
async def test_only_a_failure_is_an_error(status: StageStatus, failure: str) -> None:
    running = with_stage(value(), StageStatus.RUNNING)
    (span,) = await recorded(lambda: record_changes(running, with_stage(running, status), NOW))
    assert (span.failure, span.attributes["status"]) == (failure, f"STAGE_{status.name}")


async def test_a_stage_that_never_ran_has_no_span() -> None:
    running = value()
    skipped = running.with_stage(replace(running.stages[1], status=StageStatus.CANCELLED))
    assert await recorded(lambda: record_changes(running, skipped, NOW)) == []


async def test_a_deployment_without_a_request_has_the_trace_of_pipecds_agents() -> None:
    running = value(shared={})
    end = replace(running, status=DeploymentStatus.SUCCESS)
    (deploy,) = await recorded(lambda: record_changes(running, end, NOW))
    assert (deploy.trace, deploy.parent) == (tracing.trace_id_of("d"), "")

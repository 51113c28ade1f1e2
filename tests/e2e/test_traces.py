"""One trace from the click, or the push, to the end of the deployment."""

from pathlib import Path

from pipecd import tracing
from pipecd.model.status import SyncStatus
from pipecd.schema.model.deployment_pb2 import Deployment
from tests.eventually import eventually
from tests.trace_collector import Span, http_collector, read_spans
from tests.world import pipeline, world


def chain(spans: list[Span], span: Span) -> list[str]:
    """The names from the first span of the trace to `span`."""
    by_id = {candidate.id: candidate for candidate in spans}
    names = [span.name]
    while span.parent:
        span = by_id[span.parent]
        names.insert(0, span.name)
    return names


async def test_a_click_and_a_push_are_one_trace_each_to_the_last_stage(tmp_path: Path) -> None:
    with http_collector() as collector:
        traced = {"endpoint": f"{collector.url}/v1/traces"}
        async with (
            world(tmp_path, tracing=traced) as w,
            # Ends first, and sends its last spans to the control plane.
            w.agent(tracing={"throughControlPlane": True}),
        ):

            async def clicked_deployment() -> Deployment | None:
                found = [each for each in await w.deployments(app) if each.trigger.commander]
                return found[0] if found else None

            app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("echo hello")})
            pushed = await w.wait_for_deployment(app)
            await w.console.call("SyncApplication", application_id=app)
            # Before the next commit, which it would deploy.
            clicked = await eventually(clicked_deployment)
            assert clicked
            await w.wait_until_final(clicked.id)
            commit = await w.push("Break", {"shop/app.pipecd.yaml": pipeline("exit 3")})
            failed = await w.wait_for_deployment(app, commit)
            # Reported after the spans of the deployment are recorded.
            await w.wait_for_sync_status(app, SyncStatus.OUT_OF_SYNC)
        requests = [request.body for request in collector.requests]
    spans = read_spans(requests)

    def of(deployment_id: str) -> dict[str, Span]:
        (deploy,) = (
            span
            for span in spans
            if span.name == "Deploy" and span.attributes["deployment-id"] == deployment_id
        )
        return {span.name: span for span in spans if span.trace == deploy.trace}

    click = of(clicked.id)
    request, trigger = "grpc.service.webservice.WebService/SyncApplication", "trigger"
    assert chain(spans, click["run sh"]) == [request, trigger, "Deploy", "SCRIPT_RUN", "run sh"]
    assert chain(spans, click["Plan"]) == [request, trigger, "Deploy", "Plan"]
    create = "grpc.service.pipedservice.PipedService/CreateDeployment"
    both = [span for span in spans if span.trace == click[trigger].trace and span.name == create]
    assert len(both) == 2, "the agent's call, and the control plane's answer"
    assert {span.resource["service.name"] for span in both}
    assert click["Deploy"].failure == "" and click["Deploy"].attributes["status"] == "DEPLOYMENT_SUCCESS"
    assert 0 < click["SCRIPT_RUN"].seconds <= click["Deploy"].seconds + 1

    push = of(pushed.id)
    assert chain(spans, push["run sh"]) == [trigger, "Deploy", "SCRIPT_RUN", "run sh"]
    # As PipeCD's agents name it, so that their spans meet ours.
    assert push[trigger].trace == tracing.trace_id_of(pushed.id)
    assert push[trigger].resource["piped-id"] == w.piped_id

    broken = of(failed.id)
    assert "3" in broken["SCRIPT_RUN"].failure
    assert broken["Deploy"].failure
    assert broken["run sh"].attributes["process.exit.code"] == "3"

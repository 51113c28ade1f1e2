"""Responses that PipeCD's console depends on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.controlplane.auth.sessions import Session
from pipecd.model.access import EDITOR, VIEWER
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.insight_pb2 import InsightMetricsKind, InsightResultType
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, CallFailed, Console, ControlPlane, control_plane


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        yield running


async def test_applications_are_counted_by_kind_and_state(plane: ControlPlane) -> None:
    for number, disabled in enumerate((False, False, True)):
        application = Application(
            id=str(number), name="a", project_id=PROJECT, disabled=disabled, kind=ApplicationKind.ECS
        )
        await plane.server.services.store.create(application, by=TESTER)
    counted = await plane.console.call("GetInsightApplicationCount")
    assert {
        (count.labels["KIND"], count.labels["ACTIVE_STATUS"]): count.count for count in counted.counts
    } == {
        ("ECS", "ENABLED"): 2,
        ("ECS", "DISABLED"): 1,
    }


async def test_insights_are_one_stream_with_a_point_for_each_day(plane: ControlPlane) -> None:
    start = 1_760_000_000
    for number, status in enumerate(("SUCCESS", "FAILURE", "CANCELLED", "SUCCESS")):
        deployment = Deployment(
            id=str(number),
            application_id="a",
            project_id=PROJECT,
            status=DeploymentStatus.Value(f"DEPLOYMENT_{status}"),
            completed_at=start + (number == 3) * 2 * 86_400,
            labels={"env": "prod"},
        )
        await plane.server.services.store.create(deployment, by=TESTER)
    fields = {"range_from": start, "range_to": start + 2 * 86_400, "labels": {"env": "prod"}}

    async def values(kind: str) -> list[tuple[int, float]]:
        number = InsightMetricsKind.Value(kind)
        response = await plane.console.call("GetInsightData", metrics_kind=number, **fields)
        assert response.type == InsightResultType.MATRIX
        (stream,) = response.matrix
        return [(point.timestamp, round(point.value, 2)) for point in stream.data_points]

    midnight = start - start % 86_400
    days = [midnight, midnight + 86_400, midnight + 2 * 86_400]
    assert await values("DEPLOYMENT_FREQUENCY") == list(zip(days, (3, 0, 1), strict=True))
    assert await values("CHANGE_FAILURE_RATE") == list(zip(days, (0.33, 0, 0), strict=True))
    assert await values("MTTR") == await values("LEAD_TIME") == list(zip(days, (0, 0, 0), strict=True))
    with pytest.raises(CallFailed, match="unimplemented"):
        await values("APPLICATIONS_COUNT")


@pytest.mark.parametrize(
    ("start", "end", "zone"),
    [
        (10**9, 10**9 - 1, ""),
        (10**9, 10**9 + 731 * 86_400, ""),
        (1, 1, ""),
        (2**62, 2**62, ""),
        *((10**9, 10**9, zone) for zone in ("Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "a b")),
    ],
)
async def test_a_range_or_time_zone_that_cannot_be_shown_is_refused(
    plane: ControlPlane, start: int, end: int, zone: str
) -> None:
    with pytest.raises(CallFailed, match="invalid_argument"):
        await plane.console.call("GetInsights", range_from=start, range_to=end, time_zone=zone)


async def test_a_trace_without_deployments_is_listed(plane: ControlPlane) -> None:
    store = plane.server.services.store
    for commit in ("a" * 40, "b" * 40):
        trace = DeploymentTrace(id=commit[0], project_id=PROJECT, commit_hash=commit)
        await store.create(trace, by=TESTER)
    deployed = Deployment(id="d", project_id=PROJECT, deployment_trace_commit_hash="b" * 40)
    await store.create(deployed, by=TESTER)
    listed = await plane.console.call("ListDeploymentTraces")
    found = {entry.trace.id: [deployment.id for deployment in entry.deployments] for entry in listed.traces}
    assert found == {"a": [], "b": ["d"]}


@pytest.mark.parametrize("role", [EDITOR, VIEWER])
async def test_every_built_in_role_sees_deployment_chains(plane: ControlPlane, role: str) -> None:
    services = plane.server.services
    await services.store.create(DeploymentChain(id="c", project_id=PROJECT), by=TESTER)
    session = Session(project_id=PROJECT, username="user", roles=(role,))
    console = Console(plane.url)
    async with console.http:
        console.http.cookies.set("token", await services.sessions.start(session, by=TESTER))
        listed = await console.call("ListDeploymentChains")
        assert [chain.id for chain in listed.deployment_chains] == ["c"]
        got = await console.call("GetDeploymentChain", deployment_chain_id="c")
        assert got.deployment_chain.id == "c"

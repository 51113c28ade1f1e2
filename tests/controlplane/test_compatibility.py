"""Responses that PipeCD's console depends on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.controlplane.auth.sessions import Session
from pipecd.model.access import EDITOR, VIEWER
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.chain_pb2 import DeploymentChain
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, Console, ControlPlane, control_plane


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
        console.http.cookies.set("token", services.sessions.issue(session))
        listed = await console.call("ListDeploymentChains")
        assert [chain.id for chain in listed.deployment_chains] == ["c"]
        got = await console.call("GetDeploymentChain", deployment_chain_id="c")
        assert got.deployment_chain.id == "c"

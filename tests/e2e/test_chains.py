"""Deployment chains with a real agent: in order, and ended by what refuses or fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipecd.schema.model.chain_pb2 import ChainFailurePolicy, ChainStatus, DeploymentChain
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.eventually import eventually
from tests.world import World, pipeline, world


def file(name: str, stage: Mapping[str, Any] | str = "true", *, in_chains: bool = True, **spec: Any) -> str:
    """An application that only chains deploy, unless `spec` has a trigger."""
    trigger = {"onCommit": {"disabled": True}, "onChain": {"disabled": not in_chains}}
    always = {"planner": {"alwaysUsePipeline": True, "autoRollback": True}}
    return pipeline(stage, name=name, **{"trigger": trigger, **always, **spec})


async def test_a_chain_ends_when_an_application_refuses_or_fails(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        await check_refusal(w)
        await check_failure(w, tmp_path / "runs")


async def check_refusal(w: World) -> None:
    chain = {"applications": [{"name": name} for name in ("second", "refuses", "last")]}
    files = {
        "second": file("second"),
        "refuses": file("refuses", in_chains=False),
        "last": file("last"),
        "first": file("first", trigger={}, postSync={"chain": chain}),
    }
    ids = await add_applications(w, files)
    for name in ("first", "second"):
        deployment = await w.wait_for_deployment(ids[name])
        assert deployment.status == DeploymentStatus.DEPLOYMENT_SUCCESS, deployment.status_reason
    cancelled = await w.wait_for_deployment(ids["last"])
    assert cancelled.status == DeploymentStatus.DEPLOYMENT_CANCELLED
    assert "block 3 of the deployment chain was cancelled" in cancelled.status_reason
    assert not await w.deployments(ids["refuses"])
    record = await ended_chain(w, "first")
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_CANCELLED
    (node,) = record.blocks[2].nodes
    assert "trigger.onChain is not enabled" in node.deployment_ref.status_reason


async def check_failure(w: World, running: Path) -> None:
    """With `onFailure: cancel`, what runs beside the failed deployment is cancelled and rolled back."""
    runs = {"run": f"touch {running}; sleep 600", "onRollback": f"rm {running}"}
    labels = {"tier": "two"}
    files = {
        "runs": file("runs", {"name": "SCRIPT_RUN", "with": runs}, labels=labels),
        "fails": file("fails", f"until [ -e {running} ]; do sleep 0.05; done; exit 1", labels=labels),
    }
    ids = await add_applications(w, files)

    async def labelled() -> bool:
        applications = (await w.console.call("ListApplications")).applications
        return bool(sum(application.labels == labels for application in applications) == len(files))

    await eventually(labelled)
    chain = {"applications": [{"labels": labels}], "onFailure": "cancel"}
    await add_applications(w, {"starter": file("starter", trigger={}, postSync={"chain": chain})})
    cancelled = await w.wait_for_deployment(ids["runs"])
    assert cancelled.status == DeploymentStatus.DEPLOYMENT_CANCELLED
    reason = "Cancelled by the deployment chain during stage SCRIPT_RUN: fails in block 2 did not succeed"
    assert cancelled.status_reason.startswith(reason)
    assert not running.exists()
    record = await ended_chain(w, "starter")
    assert record.status == ChainStatus.DEPLOYMENT_CHAIN_FAILURE
    assert record.on_failure == ChainFailurePolicy.CHAIN_FAILURE_CANCEL


async def add_applications(w: World, files: Mapping[str, str]) -> Mapping[str, str]:
    """Name → id."""
    await w.push("Add applications", {f"{name}/app.pipecd.yaml": text for name, text in files.items()})
    return {name: await w.add_application(name) for name in files}


async def ended_chain(w: World, first: str) -> DeploymentChain:
    """The chain that the application `first` began."""

    async def chain() -> DeploymentChain | None:
        records = (await w.console.call("ListDeploymentChains")).deployment_chains
        (record,) = [
            each for each in records if each.blocks[0].nodes[0].application_ref.application_name == first
        ]
        return record if record.completed_at else None

    record = await eventually(chain)
    assert record
    return record

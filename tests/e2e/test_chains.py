"""A deployment chain with a real agent: what takes part is deployed in order; what refuses ends the chain."""

from pathlib import Path

from pipecd.schema.model.chain_pb2 import ChainStatus
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from tests.eventually import eventually
from tests.world import pipeline, world


def file(name: str, *, in_chains: bool = True, **spec: object) -> str:
    """An application that only chains deploy, unless `spec` has a trigger."""
    trigger = {"onCommit": {"disabled": True}, "onChain": {"disabled": not in_chains}}
    always = {"planner": {"alwaysUsePipeline": True}}
    return pipeline("true", name=name, **{"trigger": trigger, **always, **spec})


async def test_an_application_that_refuses_ends_the_chain(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        files = {
            "second": file("second"),
            "refuses": file("refuses", in_chains=False),
            "last": file("last"),
            "first": file(
                "first",
                trigger={},
                postSync={"chain": {"applications": [{"name": n} for n in ("second", "refuses", "last")]}},
            ),
        }
        await w.push("Add applications", {f"{name}/app.pipecd.yaml": text for name, text in files.items()})
        ids = {name: await w.add_application(name) for name in files}
        for name in ("first", "second"):
            deployment = await w.wait_for_deployment(ids[name])
            assert deployment.status == DeploymentStatus.DEPLOYMENT_SUCCESS, deployment.status_reason
        cancelled = await w.wait_for_deployment(ids["last"])
        assert cancelled.status == DeploymentStatus.DEPLOYMENT_CANCELLED
        assert "block 2 of the deployment chain was cancelled" in cancelled.status_reason
        assert not await w.deployments(ids["refuses"])

        async def ended() -> bool:
            (chain,) = (await w.console.call("ListDeploymentChains")).deployment_chains
            assert chain.status == ChainStatus.DEPLOYMENT_CHAIN_CANCELLED
            (node,) = chain.blocks[2].nodes
            assert "trigger.onChain is not enabled" in node.deployment_ref.status_reason
            return True

        assert await eventually(ended)

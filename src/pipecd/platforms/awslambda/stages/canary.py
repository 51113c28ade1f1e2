"""LAMBDA_CANARY_ROLLOUT: publish a new version without traffic."""

from pydantic import BaseModel

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.source import load_manifest
from pipecd.platforms.awslambda.stages.release import release
from pipecd.platforms.awslambda.stages.route import record_original_traffic


def rollout_key(function_name: str) -> str:
    """Key of shared metadata: the version that LAMBDA_PROMOTE promotes."""
    return f"{function_name}-rollout"


async def canary_rollout(work: Work[BaseModel]) -> Outcome:
    source = await work.checkouts.target()
    desired = load_manifest(source)
    async with connect(work.provider) as client:
        version = await release(work, client, desired, source, work.deployment.trigger.commit.hash)
        if not isinstance(version, str):
            return version
        alias = await client.get_alias(desired.name)
        if step := await record_original_traffic(work, client, desired.name, alias):
            return step
    note = f"Published version {version}; it receives no traffic yet"
    work.log.success(note)
    return Done(note=note, shared={rollout_key(desired.name): version})

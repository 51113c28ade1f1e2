"""LAMBDA_SYNC: publish a new version and route all traffic to it."""

from pydantic import BaseModel

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.source import load_manifest
from pipecd.platforms.awslambda.stages.cleanup import clean_up
from pipecd.platforms.awslambda.stages.release import release
from pipecd.platforms.awslambda.stages.route import record_original_traffic, route_all


async def lambda_sync(work: Work[BaseModel]) -> Outcome:
    source = await work.checkouts.target()
    desired = load_manifest(source)
    async with connect(work.provider) as client:
        version = await release(work, client, desired, source, work.deployment.trigger.commit.hash)
        if not isinstance(version, str):
            return version
        alias = await client.get_alias(desired.name)
        if step := await record_original_traffic(work, client, desired.name, alias):
            return step
        if step := await route_all(work, client, desired.name, alias, version):
            return step
        if step := await clean_up(work, client, desired.name):
            return step
    return Done(note=f"All traffic goes to version {version}")

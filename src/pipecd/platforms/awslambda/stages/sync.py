"""LAMBDA_SYNC: publish what Git asks for and give it all the traffic."""

from pydantic import BaseModel

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.source import manifest
from pipecd.platforms.awslambda.stages.cleanup import clean_up
from pipecd.platforms.awslambda.stages.release import release
from pipecd.platforms.awslambda.stages.route import route_all, unrecorded


async def lambda_sync(work: Work[BaseModel]) -> Outcome:
    wanted = manifest(await work.target())
    async with connect(work.provider) as functions:
        version = await release(work, functions, wanted, work.deployment.trigger.commit.hash)
        if not isinstance(version, str):
            return version
        alias = await functions.alias(wanted.name)
        if again := unrecorded(work, alias):
            return again
        if moved := await route_all(work, functions, wanted.name, alias, version):
            return moved
        if deleted := await clean_up(work, functions, wanted.name):
            return deleted
    return Done(note=f"All traffic goes to version {version}")

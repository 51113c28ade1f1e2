"""LAMBDA_SYNC: publish what Git asks for and give it all the traffic."""

from pydantic import BaseModel

from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.source import code_of, manifest
from pipecd.platforms.awslambda.stages.cleanup import clean_up
from pipecd.platforms.awslambda.stages.release import release
from pipecd.platforms.awslambda.stages.route import route, unrecorded
from pipecd.platforms.awslambda.traffic import Traffic


async def sync(work: Work[BaseModel]) -> Outcome:
    source = await work.target()
    wanted = manifest(source)
    async with connect(work.provider) as functions:
        version = await release(work, functions, wanted, lambda: code_of(wanted, source))
        if not isinstance(version, str):
            return version
        alias = await functions.alias(wanted.name)
        if again := unrecorded(work, alias):
            return again
        if alias is None:
            await functions.create_alias(wanted.name, version)
            return Again(note=f"All traffic goes to version {version}")
        if alias.traffic != Traffic(primary=version):
            return await route(work, functions, wanted.name, alias, Traffic(primary=version), {})
        await clean_up(work, functions, wanted.name)
    return Done(note=f"All traffic goes to version {version}")

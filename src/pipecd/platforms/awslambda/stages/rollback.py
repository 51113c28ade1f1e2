"""ROLLBACK: traffic first goes back to where it was, then the function's code and configuration follow.

Old versions are immutable, so giving the traffic back needs nothing to be built: users are served by
the old version after one call. Which stage moved the traffic does not matter.
"""

from pydantic import BaseModel

from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.awslambda.client import Lambda, connect
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.awslambda.source import manifest
from pipecd.platforms.awslambda.stages.release import release, settle
from pipecd.platforms.awslambda.stages.route import NO_ALIAS, original_key, route, route_all
from pipecd.platforms.awslambda.traffic import load


async def lambda_rollback(work: Work[BaseModel]) -> Outcome:
    wanted = manifest(await work.running())
    commit = work.deployment.running_commit
    async with connect(work.provider) as functions:
        if moved := await _give_traffic_back(work, functions, wanted):
            return moved
        if work.shared.get(original_key(work)) == NO_ALIAS:
            return await _replace_traffic(work, functions, wanted)
        if unfinished := await settle(work, functions, wanted, commit):
            return unfinished
    return Done(note="The function is as it was before the deployment")


async def _give_traffic_back(
    work: Work[BaseModel], functions: Lambda, wanted: LambdaFunction
) -> Again | Failed | None:
    """One step towards the traffic of before; None when it is there, or never moved."""
    recorded = work.shared.get(original_key(work))
    if recorded is None or recorded == NO_ALIAS:
        return None
    alias = await functions.alias(wanted.name)
    if alias is None:
        return Failed(reason=f"the alias of {wanted.name} is gone", remedy="sync the application again")
    traffic = load(recorded)
    if alias.traffic == traffic:
        return None
    return await route(work, functions, wanted.name, alias, traffic, {})


async def _replace_traffic(work: Work[BaseModel], functions: Lambda, wanted: LambdaFunction) -> Outcome:
    """There was no alias before, so no old version is known: publish what ran, and route to that."""
    alias = await functions.alias(wanted.name)
    if alias is None:
        unfinished = await settle(work, functions, wanted, work.deployment.running_commit)
        return unfinished or Done(note="The function is as it was before the deployment")
    version = await release(work, functions, wanted, work.deployment.running_commit)
    if not isinstance(version, str):
        return version
    if moved := await route_all(work, functions, wanted.name, alias, version):
        return moved
    return Done(note=f"All traffic goes to version {version}, published from what ran before")

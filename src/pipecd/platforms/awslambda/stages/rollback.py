"""ROLLBACK: restores the traffic first, then the function's code and configuration.

Versions are immutable, so restoring the traffic builds nothing: one call routes users to the old version.
It does not matter which stage moved the traffic.
"""

from pydantic import BaseModel

from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.awslambda.client import LambdaClient, connect
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.awslambda.source import load_if_used
from pipecd.platforms.awslambda.stages.release import apply_manifest, release
from pipecd.platforms.awslambda.stages.route import NO_ALIAS, original_key, route, route_all
from pipecd.platforms.awslambda.traffic import parse_traffic


async def lambda_rollback(work: Work[BaseModel]) -> Outcome:
    desired = load_if_used(await work.checkouts.running())
    if desired is None:
        return Done(note="The previous version has no function manifest; there is nothing to restore")
    commit = work.deployment.running_commit
    async with connect(work.provider) as client:
        if step := await _restore_traffic(work, client, desired):
            return step
        if work.shared.get(original_key(work)) == NO_ALIAS:
            return await _replace_traffic(work, client, desired)
        if step := await apply_manifest(work, client, desired, commit):
            return step
    return Done(note="Restored the function to its state before the deployment")


async def _restore_traffic(
    work: Work[BaseModel], client: LambdaClient, desired: LambdaFunction
) -> Again | Failed | None:
    """One step towards the original traffic; None when it is restored, or never moved."""
    recorded = work.shared.get(original_key(work))
    if recorded is None or recorded == NO_ALIAS:
        return None
    alias = await client.get_alias(desired.name)
    if alias is None:
        return Failed(reason=f"the alias of {desired.name} was deleted", remedy="sync the application again")
    return await route(work, client, desired.name, alias, parse_traffic(recorded), {})


async def _replace_traffic(work: Work[BaseModel], client: LambdaClient, desired: LambdaFunction) -> Outcome:
    """Without an alias before, the old version is unknown: publish the previous manifest and route to it."""
    alias = await client.get_alias(desired.name)
    if alias is None:
        unfinished = await apply_manifest(work, client, desired, work.deployment.running_commit)
        return unfinished or Done(note="Restored the function to its state before the deployment")
    source = await work.checkouts.running()
    version = await release(work, client, desired, source, work.deployment.running_commit)
    if not isinstance(version, str):
        return version
    if step := await route_all(work, client, desired.name, alias, version):
        return step
    return Done(note=f"All traffic goes to version {version}, published from the previous commit")

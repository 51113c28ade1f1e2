"""ROLLBACK: traffic first goes back to where it was, then the function's code and configuration follow.

Old versions are immutable, so giving the traffic back needs nothing to be built: users are served by
the old version after one call. It does not matter which stage moved the traffic, LAMBDA_SYNC or LAMBDA_PROMOTE.
"""

from pydantic import BaseModel

from pipecd.errors import Refused
from pipecd.model.stage import Again, Done, Failed, Outcome, Work
from pipecd.platforms.awslambda.client import Lambda, connect
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.awslambda.source import code_of, manifest
from pipecd.platforms.awslambda.stages.release import CODE_SENT, differs
from pipecd.platforms.awslambda.stages.route import NO_ALIAS, original_key, route
from pipecd.platforms.awslambda.traffic import load


async def rollback(work: Work[BaseModel]) -> Outcome:
    if not work.deployment.running_commit:
        raise Refused(
            "there is nothing to roll back to: this is the application's first deployment",
            remedy="fix the application in Git and deploy again",
        )
    source = await work.running()
    wanted = manifest(source)
    async with connect(work.provider) as functions:
        if moved := await _give_traffic_back(work, functions, wanted):
            return moved
        live = await functions.function(wanted.name)
        if live is None:
            return Failed(reason=f"function {wanted.name} is gone", remedy="run LAMBDA_SYNC")
        if live.update == "InProgress" or live.state == "Pending":
            return Again(after=2.0, note="Waiting until Lambda has settled the last change")
        if work.saved.get(CODE_SENT) != work.token:
            await functions.send_code(wanted, await code_of(wanted, source))
            return Again(saved={CODE_SENT: work.token}, note="Restoring the code")
        if differs(live.configuration, wanted):
            await functions.send_configuration(wanted)
            return Again(after=2.0, note="Restoring the configuration")
    return Done(note="The function is as it was before the deployment")


async def _give_traffic_back(work: Work[BaseModel], functions: Lambda, wanted: LambdaFunction) -> Again | None:
    """One step towards the traffic of before; None when it is there, or never moved."""
    recorded = work.shared.get(original_key(work))
    if recorded is None or recorded == NO_ALIAS:
        return None
    alias = await functions.alias(wanted.name)
    if alias is None:
        raise Refused(f"the alias of {wanted.name} is gone", remedy="run LAMBDA_SYNC to make it again")
    traffic = load(recorded)
    if alias.traffic == traffic:
        return None
    return await route(work, functions, wanted.name, alias, traffic, {})

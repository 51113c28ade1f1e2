"""LAMBDA_CANARY_ROLLOUT: publish what Git asks for, without traffic."""

from pydantic import BaseModel

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.source import manifest
from pipecd.platforms.awslambda.stages.release import release
from pipecd.platforms.awslambda.stages.route import unrecorded


def rollout_key(function_name: str) -> str:
    """Shared metadata under which LAMBDA_PROMOTE finds the version to promote."""
    return f"{function_name}-rollout"


async def canary_rollout(work: Work[BaseModel]) -> Outcome:
    wanted = manifest(await work.target())
    async with connect(work.provider) as functions:
        version = await release(work, functions, wanted, work.deployment.trigger.commit.hash)
        if not isinstance(version, str):
            return version
        if again := unrecorded(work, await functions.alias(wanted.name)):
            return again
    note = f"Version {version} is published and gets no traffic yet"
    work.log.success(note)
    return Done(note=note, shared={rollout_key(wanted.name): version})

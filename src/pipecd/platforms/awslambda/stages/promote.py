"""LAMBDA_PROMOTE: give the new version its share of the traffic."""

from pipecd.errors import Refused
from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.config import PromoteOptions
from pipecd.platforms.awslambda.source import manifest
from pipecd.platforms.awslambda.stages.canary import rollout_key
from pipecd.platforms.awslambda.stages.cleanup import clean_up
from pipecd.platforms.awslambda.stages.route import route, route_all, unrecorded
from pipecd.platforms.awslambda.traffic import promote

#: Stage metadata that the console shows.
PERCENTAGE = "promote-percentage"


async def promote_stage(work: Work[PromoteOptions]) -> Outcome:
    wanted = manifest(await work.target())
    version = work.shared.get(rollout_key(wanted.name))
    if version is None:
        raise Refused("no version was rolled out", remedy="put LAMBDA_CANARY_ROLLOUT before LAMBDA_PROMOTE")
    percent = float(work.options.percent)
    async with connect(work.provider) as functions:
        alias = await functions.alias(wanted.name)
        if again := unrecorded(work, alias):
            return again
        if alias is None and percent < 100:
            raise Refused(
                f"the function has no traffic yet, so {percent:g} % cannot be split off",
                remedy="promote to 100, or deploy once with LAMBDA_SYNC",
            )
        if percent >= 100:
            if moved := await route_all(work, functions, wanted.name, alias, version):
                return moved
            if deleted := await clean_up(work, functions, wanted.name):
                return deleted
        elif alias is not None:
            traffic = promote(alias.traffic, version, percent)
            if alias.traffic.shares != traffic.shares:
                record = {f"latest-promote-traffic-{work.deployment.running_commit}": traffic.dump()}
                return await route(work, functions, wanted.name, alias, traffic, record)
    return Done(
        note=f"Version {version} gets {percent:g} % of the traffic", saved={PERCENTAGE: f"{percent:g}"}
    )

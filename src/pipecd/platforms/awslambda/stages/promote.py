"""LAMBDA_PROMOTE: route a percentage of the traffic to the new version."""

from pipecd.errors import Refused
from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.awslambda.client import connect
from pipecd.platforms.awslambda.config import PromoteOptions
from pipecd.platforms.awslambda.source import load_manifest
from pipecd.platforms.awslambda.stages.canary import rollout_key
from pipecd.platforms.awslambda.stages.cleanup import clean_up
from pipecd.platforms.awslambda.stages.route import record_original_traffic, route, route_all
from pipecd.platforms.awslambda.stages.waiting import wait_until_active
from pipecd.platforms.awslambda.traffic import ALIAS, promote

#: Stage metadata that the console shows.
PERCENTAGE = "promote-percentage"


async def promote_stage(work: Work[PromoteOptions]) -> Outcome:
    desired = load_manifest(await work.checkouts.target())
    version = work.shared.get(rollout_key(desired.name))
    if version is None:
        raise Refused("no version was rolled out", remedy="add LAMBDA_CANARY_ROLLOUT before LAMBDA_PROMOTE")
    percent = float(work.options.percent)
    async with connect(work.provider) as client:
        if step := await wait_until_active(work, client, desired.name, version):
            return step
        alias = await client.get_alias(desired.name)
        if step := await record_original_traffic(work, client, desired.name, alias):
            return step
        if alias is None and percent < 100:
            raise Refused(
                f"the function has no alias {ALIAS} yet, so {percent:g} % of its traffic cannot be routed",
                remedy="set percent: 100, or deploy once with LAMBDA_SYNC",
            )
        if percent >= 100:
            if step := await route_all(work, client, desired.name, alias, version):
                return step
            if step := await clean_up(work, client, desired.name):
                return step
        elif alias is not None:
            traffic = promote(alias.traffic, version, percent)
            record = {f"latest-promote-traffic-{work.deployment.running_commit}": traffic.dump()}
            if step := await route(work, client, desired.name, alias, traffic, record):
                return step
    return Done(
        note=f"Version {version} receives {percent:g} % of the traffic", saved={PERCENTAGE: f"{percent:g}"}
    )

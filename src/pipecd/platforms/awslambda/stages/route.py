"""Moves a function's traffic, and records the traffic from before the deployment.

Called by every stage that changes the alias. The original traffic is stored under
`original-traffic-<commit>` before the first change, because a rollback has no other source for it: an
alias has no history.
"""

from typing import Any

from pipecd.errors import AlreadyExists, Conflict
from pipecd.model.stage import Again, Saved, Work
from pipecd.platforms.awslambda.client import Alias, LambdaClient
from pipecd.platforms.awslambda.traffic import Traffic

#: Recorded instead of the traffic if there was no alias before: a rollback then has nothing to restore.
NO_ALIAS = "none"


def original_key(work: Work[Any]) -> str:
    return f"original-traffic-{work.deployment.running_commit}"


def record_original_traffic(work: Work[Any], alias: Alias | None) -> Again | None:
    """The step that stores the original traffic; None when it is stored."""
    if original_key(work) in work.shared:
        return None
    traffic = alias.traffic.dump() if alias else NO_ALIAS
    return Again(shared={original_key(work): traffic}, note="Recorded the original traffic")


async def route_all(
    work: Work[Any], client: LambdaClient, name: str, alias: Alias | None, version: str
) -> Again | None:
    """One step towards routing all traffic to `version`; None when it has all."""
    if alias is not None:
        all_traffic = Traffic(primary=version)
        if alias.traffic == all_traffic:
            return None
        return await route(work, client, name, alias, all_traffic, {})
    try:
        await client.create_alias(name, version)
    except AlreadyExists:
        return Again(after=1.0, note="The alias already exists; checking again")
    work.log.success(f"All traffic of {name} goes to version {version}")
    return Again(note=f"All traffic goes to version {version}")


async def route(
    work: Work[Any], client: LambdaClient, name: str, alias: Alias, traffic: Traffic, shared: Saved
) -> Again:
    """One update of the alias. A concurrent change is read again, not overwritten."""
    try:
        await client.update_alias(name, traffic, alias.revision)
    except Conflict:
        return Again(after=1.0, note="The alias was changed concurrently; checking again")
    shares = ", ".join(f"version {version} {share:g} %" for version, share in traffic.shares.items())
    work.log.success(f"Traffic of {name}: {shares}")
    return Again(shared=shared, note=f"Traffic: {shares}")

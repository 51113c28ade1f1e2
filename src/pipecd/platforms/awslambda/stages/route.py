"""Moving a function's traffic, with a record of how it was before.

Called by every stage that touches the alias. The traffic from before the deployment is stored under
`original-traffic-<commit>` before the first change, because nothing else can tell a rollback where to
go back to: an alias keeps no history.
"""

from typing import Any

from pipecd.errors import AlreadyExists, Conflict
from pipecd.model.stage import Again, Saved, Work
from pipecd.platforms.awslambda.client import Alias, Lambda
from pipecd.platforms.awslambda.traffic import Traffic

#: Shared metadata: there was no alias before, so a rollback has no traffic to give back.
NO_ALIAS = "none"


def original_key(work: Work[Any]) -> str:
    return f"original-traffic-{work.deployment.running_commit}"


def unrecorded(work: Work[Any], alias: Alias | None) -> Again | None:
    """Asks to be called again once the traffic from before is stored; None when it is."""
    if original_key(work) in work.shared:
        return None
    traffic = alias.traffic.dump() if alias else NO_ALIAS
    return Again(shared={original_key(work): traffic}, note="Recorded the traffic to go back to")


async def route_all(
    work: Work[Any], functions: Lambda, name: str, alias: Alias | None, version: str
) -> Again | None:
    """A step towards all traffic for one version; None when it has it."""
    if alias is not None:
        whole = Traffic(primary=version)
        return None if alias.traffic == whole else await route(work, functions, name, alias, whole, {})
    try:
        await functions.create_alias(name, version)
    except AlreadyExists:
        return Again(after=1.0, note="The alias appeared in the meantime: looking again")
    work.log.success(f"All traffic of {name} goes to version {version}")
    return Again(note=f"All traffic goes to version {version}")


async def route(
    work: Work[Any], functions: Lambda, name: str, alias: Alias, traffic: Traffic, shared: Saved
) -> Again:
    """One change of the alias. Somebody else's change in between is looked at anew, not overwritten."""
    try:
        await functions.route(name, traffic, alias.revision)
    except Conflict:
        return Again(after=1.0, note="The alias was changed by somebody else: looking again")
    shares = ", ".join(f"version {version} {share:g} %" for version, share in traffic.shares.items())
    work.log.success(f"Traffic of {name}: {shares}")
    return Again(shared=shared, note=f"Traffic: {shares}")

"""Moves a function's traffic, and records the traffic from before the deployment.

Called by every stage that changes the alias. The original traffic is stored under
`original-traffic-<commit>` before the first change, because a rollback has no other source for it: an
alias has no history.

An alias with provisioned concurrency does not change at once: AWS keeps the traffic on the old version, by
weights of its own, until the new version has its concurrency. These weights are awaited, not overwritten.
"""

from typing import Any

from pipecd.errors import AlreadyExists, Conflict, Refused
from pipecd.model.stage import Again, Failed, Saved, Work
from pipecd.platforms.awslambda.client import Alias, LambdaClient, ProvisionedConcurrency
from pipecd.platforms.awslambda.stages.waiting import POLL_INTERVAL, wait, waits
from pipecd.platforms.awslambda.traffic import ALIAS, Traffic

#: Recorded instead of the traffic if there was no alias before: a rollback then has nothing to restore.
NO_ALIAS = "none"
#: Stage metadata: the traffic of the last update that AWS accepted, and the number of updates.
_SENT, _UPDATES = "pipecd/traffic-sent", "pipecd/traffic-updates"
#: How often a stage updates the alias. More than one update is an answer to another writer's change.
MAX_UPDATES = 5


def original_key(work: Work[Any]) -> str:
    return f"original-traffic-{work.deployment.running_commit}"


async def record_original_traffic(
    work: Work[Any], client: LambdaClient, name: str, alias: Alias | None
) -> Again | Failed | None:
    """The step that stores the original traffic; None when it is stored.

    Weights that AWS sets for a moment are not the original traffic.
    """
    if original_key(work) in work.shared:
        return None
    if alias and alias.traffic.secondary:
        concurrency = await _provisioned_concurrency(work, client, name)
        if concurrency and concurrency.status == "IN_PROGRESS":
            return _wait(work, "alias-before", "AWS to allocate the provisioned concurrency of the alias")
        if concurrency and not waits(work, "alias-ready"):
            # The alias was read before its provisioned concurrency became ready.
            return _wait(work, "alias-ready", "the traffic of the alias to be final")
    traffic = alias.traffic.dump() if alias else NO_ALIAS
    return Again(shared={original_key(work): traffic}, note="Recorded the original traffic")


async def route_all(
    work: Work[Any], client: LambdaClient, name: str, alias: Alias | None, version: str
) -> Again | Failed | None:
    """One step towards routing all traffic to `version`; None when it has all."""
    if alias is not None:
        return await route(work, client, name, alias, Traffic(primary=version), {})
    try:
        await client.create_alias(name, version)
    except AlreadyExists:
        return Again(after=1.0, note="The alias already exists; checking again")
    work.log.success(f"All traffic of {name} goes to version {version}")
    return Again(note=f"All traffic goes to version {version}")


async def route(
    work: Work[Any], client: LambdaClient, name: str, alias: Alias, traffic: Traffic, shared: Saved
) -> Again | Failed | None:
    """One step towards `traffic`; None when the alias has it.

    A concurrent change is read again, not overwritten, and answered by at most `MAX_UPDATES` updates.
    """
    if alias.traffic.shares == traffic.shares:
        return None
    updates = int(work.saved.get(_UPDATES, "0"))
    if work.saved.get(_SENT) == traffic.dump() and (
        step := await _wait_for_alias(work, client, name, alias, traffic)
    ):
        return step
    if updates >= MAX_UPDATES:
        return Failed(
            reason=f"after {updates} updates of the alias {ALIAS} of {name} to {_describe(traffic)},"
            f" it has {_describe(alias.traffic)}",
            remedy="find out what else changes the alias, such as CodeDeploy or Terraform, and sync again",
        )
    count = {_UPDATES: str(updates + 1)}
    try:
        await client.update_alias(name, traffic, alias.revision)
    except Conflict:
        return Again(after=1.0, saved=count, note="The alias was changed concurrently; checking again")
    work.log.success(f"Traffic of {name}: {_describe(traffic)}")
    saved = {**count, _SENT: traffic.dump()}
    return Again(saved=saved, shared=shared, note=f"Traffic: {_describe(traffic)}")


def _wait(work: Work[Any], key: str, what: str) -> Again | Failed:
    """Waits for the alias, without quick first checks: another writer must not be fought."""
    return wait(work, key, what, shortest=POLL_INTERVAL)


async def _wait_for_alias(
    work: Work[Any], client: LambdaClient, name: str, alias: Alias, traffic: Traffic
) -> Again | Failed | None:
    """The wait for an accepted update to take effect; None if something else has changed the alias since."""
    key = f"alias-{work.saved.get(_UPDATES, '')}"
    if not waits(work, key):
        return _wait(work, key, f"the alias to have {_describe(traffic)}")
    if alias.traffic.primary != traffic.primary:
        return None
    concurrency = await _provisioned_concurrency(work, client, name)
    if concurrency is None:
        return None
    if concurrency.status == "FAILED":
        return Failed(
            reason=f"AWS could not allocate the provisioned concurrency of the alias: {concurrency.reason}",
            remedy="fix the reported error, or reduce the provisioned concurrency, and sync again",
        )
    return _wait(
        work, key, f"AWS to move the provisioned concurrency of the alias; {_describe(alias.traffic)}"
    )


async def _provisioned_concurrency(
    work: Work[Any], client: LambdaClient, name: str
) -> ProvisionedConcurrency | None:
    """An agent without the permission to read it treats foreign weights as AWS's."""
    try:
        return await client.get_provisioned_concurrency(name)
    except Refused as error:
        work.log.info(f"The provisioned concurrency of the alias is unknown: {error}")
        return ProvisionedConcurrency(status="UNKNOWN")


def _describe(traffic: Traffic) -> str:
    return ", ".join(f"version {version} {share:g} %" for version, share in traffic.shares.items())

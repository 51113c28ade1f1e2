"""TERRAFORM_SYNC, TERRAFORM_PLAN, TERRAFORM_APPLY and ROLLBACK.

Only saved plans are applied, after they were shown in the log. TERRAFORM_PLAN stores its plan encrypted in
the control plane until TERRAFORM_APPLY has applied it. If the agent is killed while applying, the remaining
changes are applied only if they are part of the shown plan.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipecd.errors import NotFound, Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Again, Done, Failed, Outcome, Source, Work
from pipecd.model.status import StageStatus
from pipecd.platforms.terraform.changes import Changes
from pipecd.platforms.terraform.config import PlanOptions
from pipecd.platforms.terraform.failure import NEW_PLAN, StalePlan
from pipecd.platforms.terraform.terraform import Terraform, open_terraform

#: Shared metadata: the stage that stored the plan, and the plan's digest. Empty once it is applied.
PLANNED_KEY = "pipecd/terraform-plan"
#: Stage metadata: the plan's change counts, and that the apply has started.
COUNTS_KEY = "pipecd/terraform-changes"
APPLYING_KEY = "pipecd/terraform-applying"
#: Stage metadata that the console shows with the stage.
DISPLAY_KEY = "pipecd/stage-display-metadata"
#: Name of the application's stored plan; there is at most one.
STORED_PLAN = "terraform-plan"


async def plan(work: Work[PlanOptions]) -> Outcome:
    terraform = await open_terraform(work, await work.checkouts.target())
    await terraform.prepare()
    changes = await terraform.plan()
    summary = str(changes)
    work.log.success(summary)
    if changes.empty and work.options.exit_on_no_changes:
        note = f"{summary}; ending the deployment"
        return Done(note=note, status=StageStatus.EXITED, saved=_counts_metadata(changes))
    digest = await _store_plan(work, terraform)
    planned = json.dumps({"stage": work.stage.id, "digest": digest})
    return Done(note=summary, saved=_counts_metadata(changes), shared={PLANNED_KEY: planned})


async def apply(work: Work[BaseModel]) -> Outcome:
    """Applies the plan of the preceding TERRAFORM_PLAN; without one, plans first."""
    planned = work.shared.get(PLANNED_KEY)
    if not planned:
        return await _plan_and_apply(work, await work.checkouts.target())
    terraform = await open_terraform(work, await work.checkouts.target())
    resumed = APPLYING_KEY in work.saved and work.interrupted
    if resumed or not terraform.folder.plan.exists():
        await _load_plan(work, terraform, decode_json(planned))
    await terraform.prepare()
    shown = await terraform.read_plan()
    if shown.empty:
        work.log.success("No changes")
        return Done(note="No changes", saved=_counts_metadata(shown), shared={PLANNED_KEY: ""})
    if APPLYING_KEY not in work.saved:
        await _refuse_changed_infrastructure(work, terraform, shown)
        work.log.info(f"Applying the shown plan: {shown}")
        return Again(saved={APPLYING_KEY: str(shown)}, note=f"Applying: {shown}")
    if not resumed:
        await terraform.apply()
    elif failure := await _apply_rest(work, terraform, shown):
        return failure
    work.log.success(f"Applied: {shown.applied_summary}")
    return Done(
        note=f"Applied: {shown.applied_summary}", saved=_counts_metadata(shown), shared={PLANNED_KEY: ""}
    )


async def sync(work: Work[BaseModel]) -> Outcome:
    return await _plan_and_apply(work, await work.checkouts.target())


async def rollback(work: Work[Any]) -> Outcome:
    """Applies the configuration of the running commit."""
    source = await work.checkouts.running()
    if APPLYING_KEY not in work.saved:
        work.log.info(f"Rolling back to commit {source.commit[:12]}")
    return await _plan_and_apply(work, source)


async def _plan_and_apply(work: Work[Any], source: Source) -> Outcome:
    """No approval happens in between, so a lost or stale plan is replaced by a new one."""
    terraform = await open_terraform(work, source)
    await terraform.prepare()
    if not terraform.folder.plan.exists():
        changes = await terraform.plan()
        if changes.empty:
            work.log.success("No changes")
            return Done(note="No changes", saved=_counts_metadata(changes))
        work.log.info(f"Applying: {changes}")
        return Again(saved={APPLYING_KEY: str(changes)}, note=f"Applying: {changes}")
    changes = await terraform.read_plan()
    try:
        await terraform.apply()
    except StalePlan:
        work.log.info("The state changed after the plan was created; planning again")
        return Again(note="The state changed; planning again")
    finally:
        terraform.folder.plan.unlink(missing_ok=True)
    work.log.success(f"Applied: {changes.applied_summary}")
    return Done(note=f"Applied: {changes.applied_summary}", saved=_counts_metadata(changes))


async def _refuse_changed_infrastructure(work: Work[Any], terraform: Terraform, shown: Changes) -> None:
    """Terraform itself detects only a changed state, not changes made outside Terraform."""
    work.log.info("Checking that the shown plan is still up to date")
    if differing := (await terraform.replan()).differing_from(shown):
        raise Refused(
            "infrastructure changed after the plan was created;"
            f" a new plan would differ in {', '.join(differing)}",
            remedy=NEW_PLAN,
        )


async def _apply_rest(work: Work[Any], terraform: Terraform, shown: Changes) -> Failed | None:
    """Continues an apply that was cut short, or never began. None when all is applied."""
    work.log.info("Applying this plan was interrupted; checking what is left")
    try:
        await terraform.apply()
    except StalePlan:
        work.log.info("Part of the plan was applied; planning again to find the remaining changes")
    else:
        return None
    remaining = await terraform.plan()
    if remaining.empty:
        return None
    if exceeding := remaining.exceeding(shown):
        return Failed(
            reason=f"the remaining changes are not part of the shown plan: {', '.join(exceeding)}",
            remedy=NEW_PLAN,
        )
    work.log.info(f"The remaining changes are part of the shown plan: {remaining}")
    await terraform.apply()
    return None


def _counts_metadata(changes: Changes) -> Mapping[str, str]:
    return {COUNTS_KEY: json.dumps(dict(changes.counts)), DISPLAY_KEY: str(changes)}


async def _store_plan(work: Work[Any], terraform: Terraform) -> str:
    """Stores the plan encrypted, and returns its digest."""
    packed = await asyncio.to_thread(terraform.folder.pack)
    header = json.dumps({"deployment": work.deployment.id, "stage": work.stage.id}).encode()
    await work.storage.store(STORED_PLAN, header + b"\n" + packed)
    return hashlib.sha256(packed).hexdigest()


async def _load_plan(work: Work[Any], terraform: Terraform, planned: Mapping[str, str]) -> None:
    """Unpacks the stored plan into the checkout. Raises Refused if it is not the shown plan."""
    try:
        stored = await work.storage.load(STORED_PLAN)
    except NotFound:
        stored = b"{}\n"
    header, _, packed = stored.partition(b"\n")
    expected = {"deployment": work.deployment.id, "stage": planned["stage"]}
    if decode_json(header) != expected or hashlib.sha256(packed).hexdigest() != planned["digest"]:
        raise Refused("the shown plan is no longer stored", remedy=NEW_PLAN)
    await asyncio.to_thread(terraform.folder.unpack, packed)

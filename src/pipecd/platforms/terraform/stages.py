"""TERRAFORM_SYNC, TERRAFORM_PLAN, TERRAFORM_APPLY and ROLLBACK.

Applying is the one effect. It is always of a plan that was saved and logged before, kept with the control
plane under the agent's key until it is applied: what was shown is what is applied. After a kill in the
middle of it, the rest is applied only when it is part of what was shown.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipecd.errors import NotFound, Refused
from pipecd.model.stage import Again, Done, Failed, Outcome, Source, Work
from pipecd.model.status import StageStatus
from pipecd.platforms.terraform.changes import Changes
from pipecd.platforms.terraform.config import PlanOptions
from pipecd.platforms.terraform.terraform import Checkout, Stale, checkout

#: Shared metadata: the id of the stage whose plan is kept, and what it counted.
PLANNED_BY = "pipecd/terraform-plan"
#: Stage metadata: a plan is kept for this stage, and its counts; applying was begun.
COUNTED = "pipecd/terraform-changes"
APPLYING = "pipecd/terraform-applying"
#: The one plan an application has kept.
_KEPT = "terraform-plan"


async def plan(work: Work[PlanOptions]) -> Outcome:
    terraform = await checkout(work, await work.target())
    found = await terraform.plan()
    if found.none:
        work.log.success("No changes")
        status = StageStatus.EXITED if work.options.exit_on_no_changes else StageStatus.SUCCESS
        note = "No changes" + ("; the deployment ends here" if work.options.exit_on_no_changes else "")
    else:
        work.log.success(str(found))
        status, note = StageStatus.SUCCESS, str(found)
    await _keep(work, terraform, work.stage.id)
    return Done(note=note, status=status, saved={COUNTED: note}, shared={PLANNED_BY: work.stage.id})


async def apply(work: Work[BaseModel]) -> Outcome:
    """The plan of the stage before; without one, a plan of its own."""
    planned_by = work.shared.get(PLANNED_BY)
    if planned_by is None:
        return await _plan_and_apply(work, await work.target())
    terraform = await checkout(work, await work.target())
    await _fetch(work, terraform, planned_by)
    return await _apply(work, terraform)


async def sync(work: Work[BaseModel]) -> Outcome:
    return await _plan_and_apply(work, await work.target())


async def rollback(work: Work[Any]) -> Outcome:
    """Apply the configuration of the commit that ran before."""
    work.log.info(f"Going back to {work.deployment.running_commit[:12]}")
    return await _plan_and_apply(work, await work.running())


async def _plan_and_apply(work: Work[Any], source: Source) -> Outcome:
    terraform = await checkout(work, source)
    if COUNTED not in work.saved:
        found = await terraform.plan()
        if found.none:
            work.log.success("No changes")
            return Done(note="No changes")
        work.log.info(str(found))
        await _keep(work, terraform, work.stage.id)
        return Again(saved={COUNTED: str(found)}, note=f"Applies: {found}")
    await _fetch(work, terraform, work.stage.id)
    return await _apply(work, terraform)


async def _apply(work: Work[Any], terraform: Checkout) -> Outcome:
    """Apply the kept plan; what an interrupted attempt has left of it, after a kill."""
    shown = await terraform.shown()
    if shown.none:
        work.log.success("No changes")
        return Done(note="No changes")
    if APPLYING not in work.saved:
        _begun.add(work.token)
        return Again(saved={APPLYING: str(shown)}, note=f"Applies: {shown}")
    if work.token not in _begun:
        return await _resume(work, terraform, shown)
    _begun.discard(work.token)
    await terraform.apply()
    work.log.success(f"Applied: {shown}")
    return Done(note=f"Applied: {shown}")


async def _resume(work: Work[Any], terraform: Checkout, shown: Changes) -> Outcome:
    """The agent was stopped while it applied, or just before."""
    work.log.info("The agent was stopped while this was applied; looking at what is left to do")
    try:
        await terraform.apply()
    except Stale:
        work.log.info("Something of the plan was applied; planning again to see what is left")
    else:
        return Done(note=f"Applied: {shown}")
    left = await terraform.plan()
    if left.none:
        work.log.success("Everything was applied")
        return Done(note=f"Applied: {shown}")
    if beyond := left.beyond(shown):
        return Failed(
            reason=f"the rest is not part of the plan that was shown: {', '.join(beyond)}",
            remedy="sync the application again to get a new plan",
        )
    await terraform.apply()
    work.log.success(f"Applied the rest: {left}")
    return Done(note=f"Applied: {shown}")


#: Tokens of stages whose applying was noted by this process and not begun yet.
_begun: set[str] = set()


async def _keep(work: Work[Any], terraform: Checkout, stage_id: str) -> None:
    head = json.dumps({"deployment": work.deployment.id, "stage": stage_id}).encode()
    await work.keep(_KEPT, head + b"\n" + terraform.plan_file.read_bytes())


async def _fetch(work: Work[Any], terraform: Checkout, stage_id: str) -> None:
    """Put the kept plan into the checkout. Raises Refused when it is not this deployment's."""
    try:
        kept = await work.kept(_KEPT)
    except NotFound:
        kept = b"{}\n"
    head, _, content = kept.partition(b"\n")
    facts: Mapping[str, str] = json.loads(head)
    if facts != {"deployment": work.deployment.id, "stage": stage_id}:
        raise Refused(
            "the plan that was shown is not kept any more",
            remedy="sync the application again to get a new plan",
        )
    terraform.plan_file.write_bytes(content)

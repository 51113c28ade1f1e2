"""TERRAFORM_SYNC, TERRAFORM_PLAN, TERRAFORM_APPLY and ROLLBACK.

Applying is the one effect, and it is always of a saved plan that the log has shown. TERRAFORM_PLAN keeps its
plan with the control plane, sealed, until TERRAFORM_APPLY has applied it. After a kill in the middle of that,
the rest is applied only when it is part of what was shown.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipecd.errors import NotFound, Refused
from pipecd.model.stage import Again, Done, Failed, Outcome, Source, Work
from pipecd.model.status import StageStatus
from pipecd.platforms.terraform.changes import Changes
from pipecd.platforms.terraform.config import PlanOptions
from pipecd.platforms.terraform.failure import NEW_PLAN, Stale
from pipecd.platforms.terraform.terraform import Terraform, opened

#: Shared metadata: the stage whose plan is kept, and the plan's digest. Empty once it is applied.
PLANNED = "pipecd/terraform-plan"
#: Stage metadata: what the plan counted; and that applying was begun.
COUNTED = "pipecd/terraform-changes"
APPLYING = "pipecd/terraform-applying"
#: Stage metadata that the console shows with the stage.
SHOWN = "pipecd/stage-display-metadata"
#: The one plan an application has kept.
KEPT = "terraform-plan"


async def plan(work: Work[PlanOptions]) -> Outcome:
    terraform = await opened(work, await work.target())
    await terraform.prepare()
    found = await terraform.plan()
    counted = str(found)
    work.log.success(counted)
    if found.none and work.options.exit_on_no_changes:
        note = f"{counted}: the deployment ends here"
        return Done(note=note, status=StageStatus.EXITED, saved=_counted(found))
    digest = await _keep(work, terraform)
    planned = json.dumps({"stage": work.stage.id, "digest": digest})
    return Done(note=counted, saved=_counted(found), shared={PLANNED: planned})


async def apply(work: Work[BaseModel]) -> Outcome:
    """The plan of the stage before; without one, a plan of its own."""
    planned = work.shared.get(PLANNED)
    if not planned:
        return await _plan_and_apply(work, await work.target())
    terraform = await opened(work, await work.target())
    resumed = APPLYING in work.saved and work.token not in _noted
    if resumed or not terraform.folder.plan.exists():
        await _fetch(work, terraform, json.loads(planned))
    await terraform.prepare()
    shown = await terraform.shown()
    if shown.none:
        work.log.success("No changes")
        return Done(note="No changes", saved=_counted(shown), shared={PLANNED: ""})
    if APPLYING not in work.saved:
        await _refuse_another_world(work, terraform, shown)
        _noted.add(work.token)
        work.log.info(f"Applies the plan that was shown: {shown}")
        return Again(saved={APPLYING: str(shown)}, note=f"Applies: {shown}")
    _noted.discard(work.token)
    if not resumed:
        await terraform.apply()
    elif unlike := await _apply_rest(work, terraform, shown):
        return unlike
    work.log.success(f"Applied: {shown.applied}")
    return Done(note=f"Applied: {shown.applied}", saved=_counted(shown), shared={PLANNED: ""})


async def sync(work: Work[BaseModel]) -> Outcome:
    return await _plan_and_apply(work, await work.target())


async def rollback(work: Work[Any]) -> Outcome:
    """Apply the configuration of the commit that ran before."""
    source = await work.running()
    if APPLYING not in work.saved:
        work.log.info(f"Going back to commit {source.commit[:12]}")
    return await _plan_and_apply(work, source)


async def _plan_and_apply(work: Work[Any], source: Source) -> Outcome:
    """Nobody is asked in between, so a plan that is lost or stale is simply made again."""
    terraform = await opened(work, source)
    await terraform.prepare()
    if not terraform.folder.plan.exists():
        found = await terraform.plan()
        if found.none:
            work.log.success("No changes")
            return Done(note="No changes", saved=_counted(found))
        work.log.info(f"Applies: {found}")
        return Again(saved={APPLYING: str(found)}, note=f"Applies: {found}")
    found = await terraform.shown()
    try:
        await terraform.apply()
    except Stale:
        work.log.info("The state has changed since the plan was made; planning again")
        return Again(note="Planning again: the state has changed meanwhile")
    finally:
        terraform.folder.plan.unlink(missing_ok=True)
    work.log.success(f"Applied: {found.applied}")
    return Done(note=f"Applied: {found.applied}", saved=_counted(found))


async def _refuse_another_world(work: Work[Any], terraform: Terraform, shown: Changes) -> None:
    """Terraform itself looks at the state alone; what is out there may have changed without it."""
    work.log.info("Looking whether the plan that was shown still fits")
    if unlike := (await terraform.look()).unlike(shown):
        raise Refused(
            f"the world has changed since this plan was shown: now it would differ in {', '.join(unlike)}",
            remedy=NEW_PLAN,
        )


async def _apply_rest(work: Work[Any], terraform: Terraform, shown: Changes) -> Failed | None:
    """The agent was stopped while it applied, or just before. None once all that was shown is applied."""
    work.log.info("The agent was stopped while this was applied; looking at what is left to do")
    try:
        await terraform.apply()
    except Stale:
        work.log.info("Part of the plan was applied; planning again to see the rest")
    else:
        return None
    left = await terraform.plan()
    if left.none:
        return None
    if beyond := left.beyond(shown):
        return Failed(
            reason=f"what is left to do is not what the plan had shown: {', '.join(beyond)}",
            remedy=NEW_PLAN,
        )
    work.log.info(f"The rest is part of the plan that was shown: {left}")
    await terraform.apply()
    return None


def _counted(found: Changes) -> Mapping[str, str]:
    return {COUNTED: json.dumps(dict(found.counts)), SHOWN: str(found)}


#: Tokens of stages whose applying was noted by this process and not begun yet.
_noted: set[str] = set()


async def _keep(work: Work[Any], terraform: Terraform) -> str:
    """The digest of what is now kept."""
    packed = await asyncio.to_thread(terraform.folder.pack)
    head = json.dumps({"deployment": work.deployment.id, "stage": work.stage.id}).encode()
    await work.keep(KEPT, head + b"\n" + packed)
    return hashlib.sha256(packed).hexdigest()


async def _fetch(work: Work[Any], terraform: Terraform, planned: Mapping[str, str]) -> None:
    """Put the kept plan into the folder. Raises Refused when it is not the one that was shown."""
    try:
        kept = await work.kept(KEPT)
    except NotFound:
        kept = b"{}\n"
    head, _, packed = kept.partition(b"\n")
    whose = {"deployment": work.deployment.id, "stage": planned["stage"]}
    if json.loads(head) != whose or hashlib.sha256(packed).hexdigest() != planned["digest"]:
        raise Refused(
            "the plan that was shown is not kept any more",
            remedy=NEW_PLAN,
        )
    await asyncio.to_thread(terraform.folder.unpack, packed)

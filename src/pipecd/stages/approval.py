"""WAIT_APPROVAL: waits for as many different people as the pipeline asks for.

Who may approve is checked by the control plane before it sends the order, and once more here: the names
stand in Git, and that is what counts.
"""

from pipecd.config.stages import WaitApprovalOptions
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.model.status import StageStatus

#: Stage metadata, PipeCD's names: comma-separated people.
APPROVED_BY, SKIPPED_BY = "ApprovedBy", "SkippedBy"
#: Ours: that people were told, so that a restart does not tell them again.
ASKED = "pipecd/asked"
#: An order wakes the stage; this is only how long it sleeps without one (seconds).
PATIENCE = 600.0


async def wait_approval(work: Work[WaitApprovalOptions]) -> Outcome:
    options = work.options
    asked: dict[str, str] = {} if ASKED in work.saved else _ask(work)
    approved = [name for name in work.saved.get(APPROVED_BY, "").split(", ") if name]
    for order in work.orders:
        if options.approvers and order.commander not in options.approvers:
            work.log.error(f"{order.commander} is not among the approvers; this does not count")
        elif not order.approve:
            work.log.info(f"Skipped by {order.commander}")
            note = f"Skipped by {order.commander}"
            saved = asked | {SKIPPED_BY: order.commander}
            return Done(note=note, status=StageStatus.SKIPPED, saved=saved)
        elif order.commander in approved:
            work.log.info(f"{order.commander} has approved already, which counts once")
        else:
            approved.append(order.commander)
            work.log.info(f"Approved by {order.commander} ({len(approved)} of {options.min_approver_num})")
    names, missing = ", ".join(approved), options.min_approver_num - len(approved)
    saved = asked | ({APPROVED_BY: names} if approved else {})
    if missing <= 0:
        work.notify("DEPLOYMENT_APPROVED", _fields(work, names))
        work.log.success(f"Approved by {names}")
        return Done(note=f"Approved by {names}", saved=saved)
    note = f"Approved by {names}; {missing} to go" if approved else _waiting(options)
    return Again(after=PATIENCE, saved=saved, note=note)


def _ask(work: Work[WaitApprovalOptions]) -> dict[str, str]:
    """Tells people that they are waited for; what keeps a restart from telling them again."""
    options = work.options
    work.notify("DEPLOYMENT_WAIT_APPROVAL", _fields(work, ", ".join(options.approvers)))
    work.log.info(_waiting(options))
    return {ASKED: "true"}


def _waiting(options: WaitApprovalOptions) -> str:
    who = f" of {', '.join(options.approvers)}" if options.approvers else ""
    count = options.min_approver_num
    return f"Waiting for the approval{who}" if count == 1 else f"Waiting for {count} approvals{who}"


def _fields(work: Work[WaitApprovalOptions], approvers: str) -> dict[str, str]:
    deployment = work.deployment
    return {
        "application": deployment.application_name,
        "deployment": deployment.id,
        "commit": deployment.trigger.commit.hash,
        "stage": work.stage.id,
        "approvers": approvers,
    }

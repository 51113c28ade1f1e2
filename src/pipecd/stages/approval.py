"""WAIT_APPROVAL: waits until the required number of different users have approved.

The control plane checks who may approve before it forwards an approval. It is checked again here, because the
approvers configured in Git are authoritative.
"""

from pipecd.config.stages import WaitApprovalOptions
from pipecd.model.approval import Decision, Verdict, one_line, save_decisions
from pipecd.model.notification import ApprovalRequested, DeploymentApproved
from pipecd.model.stage import Again, Done, Outcome, StageAction, Work
from pipecd.model.status import StageStatus

#: Keys of stage metadata, the same as PipeCD's: comma-separated user names.
APPROVED_BY, SKIPPED_BY = "ApprovedBy", "SkippedBy"
#: Key of stage metadata, not in PipeCD: the approvers were notified. Prevents a repetition after a restart.
NOTIFIED = "pipecd/asked"
#: Time until the next call without a stage action (seconds). An action triggers a call immediately.
IDLE_INTERVAL = 600.0


async def wait_approval(work: Work[WaitApprovalOptions]) -> Outcome:
    options = work.options
    notified: dict[str, str] = {} if NOTIFIED in work.saved else _notify_approvers(work)
    approved = [name for name in work.saved.get(APPROVED_BY, "").split(", ") if name]
    decisions: list[Decision] = []
    for action in work.actions:
        if options.approvers and action.requested_by not in options.approvers:
            work.log.error(f"{action.requested_by} is not an approver; ignoring the request")
        elif not action.approve:
            work.log.info(f"Skipped by {action.requested_by}")
            note = f"Skipped by {action.requested_by}"
            saved = notified | {SKIPPED_BY: action.requested_by}
            return Done(note=note, status=StageStatus.SKIPPED, saved=saved)
        elif action.requested_by in approved:
            work.log.info(f"{action.requested_by} has already approved; each user counts once")
        else:
            approved.append(action.requested_by)
            decisions.append(_decision(action))
            comment = f": {one_line(action.comment)}" if action.comment else ""
            work.log.info(
                f"Approved by {action.requested_by} ({len(approved)} of {options.min_approver_num}){comment}"
            )
    names, missing = ", ".join(approved), options.min_approver_num - len(approved)
    saved = notified | ({APPROVED_BY: names} if approved else {}) | save_decisions(work.saved, decisions)
    if missing <= 0:
        work.notify(
            DeploymentApproved(
                at=int(work.now), deployment=work.deployment, stage=work.stage, approvers=tuple(approved)
            )
        )
        work.log.success(f"Approved by {names}")
        return Done(note=f"Approved by {names}", saved=saved)
    note = f"Approved by {names}; waiting for {missing} more" if approved else _waiting_note(options)
    return Again(after=IDLE_INTERVAL, saved=saved, note=note)


def _decision(action: StageAction) -> Decision:
    return Decision(
        by=action.requested_by, verdict=Verdict.APPROVED, comment=action.comment, at=action.requested_at
    )


def _notify_approvers(work: Work[WaitApprovalOptions]) -> dict[str, str]:
    """Notifies the approvers; returns the metadata that prevents a second notification after a restart."""
    options = work.options
    work.notify(
        ApprovalRequested(
            at=int(work.now),
            deployment=work.deployment,
            stage=work.stage,
            approvers=tuple(options.approvers),
        )
    )
    work.log.info(_waiting_note(options))
    return {NOTIFIED: "true"}


def _waiting_note(options: WaitApprovalOptions) -> str:
    approvers = f" by {', '.join(options.approvers)}" if options.approvers else ""
    count = options.min_approver_num
    return f"Waiting for approval{approvers}" if count == 1 else f"Waiting for {count} approvals{approvers}"

"""Plan preview of a Terraform application: a plan that is shown and discarded."""

from pipecd.model.preview import Preview, PreviewRequest
from pipecd.platforms.terraform.source import runs_terraform
from pipecd.platforms.terraform.unlocked import unlocked_plan


async def plan_preview(request: PreviewRequest) -> Preview:
    if not runs_terraform(request.head):
        return Preview(summary="No stage runs Terraform", no_change=True)
    changes, details = await unlocked_plan(request.application, request.provider, request.head)
    if changes.empty:
        return Preview(summary="No changes were detected", no_change=True)
    return Preview(summary=str(changes), details=details)

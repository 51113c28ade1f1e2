"""What a pull request would change in a Terraform application: a plan that is shown and thrown away."""

from pipecd.model.preview import Preview, PreviewWork
from pipecd.platforms.terraform.unlocked import unlocked_plan


async def plan_preview(work: PreviewWork) -> Preview:
    found, details = await unlocked_plan(work.application, work.provider, work.head)
    if found.none:
        return Preview(summary="No changes were detected", no_change=True)
    return Preview(summary=str(found), details=details)

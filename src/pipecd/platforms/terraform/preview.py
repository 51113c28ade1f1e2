"""What a pull request would change in a Terraform application: a plan that is shown and thrown away.

The state is not locked, so that a preview neither waits for a deployment nor holds one up.
"""

import asyncio
from uuid import uuid4

from pipecd.model.preview import Preview, PreviewWork
from pipecd.platforms.terraform import binary
from pipecd.platforms.terraform.config import Provider
from pipecd.platforms.terraform.folder import Folder
from pipecd.platforms.terraform.source import place
from pipecd.platforms.terraform.terraform import Terraform

#: There is no lock to give back (seconds).
GRACE = 3.0


async def plan_preview(work: PreviewWork) -> Preview:
    provider = work.provider or Provider()
    version = work.head.config.spec.input.terraform_version
    command = await binary.find(provider.binary, version, lambda: place(work.head, "terraformVersion"))
    # A path of its own: a deployment of the same application may be using the lasting one.
    folder = await asyncio.to_thread(Folder, work.head, f"{work.application.id} {uuid4()}")
    terraform = Terraform(command, work.head, provider, folder, _Unread(), grace=GRACE)
    try:
        await terraform.prepare()
        found, details = await terraform.preview()
    finally:
        folder.link.unlink(missing_ok=True)
    if found.none:
        return Preview(summary="No changes were detected", no_change=True)
    return Preview(summary=str(found), details=details)


class _Unread:
    """The log of a run of which only the plan is shown; what goes wrong rises as an error."""

    def info(self, text: str) -> None: ...
    def success(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...

"""Read-only Terraform, which may run concurrently with a deployment of the same application.

Called by `preview`, `drift` and `live`. The state is not locked, so it neither waits for a deployment nor
blocks one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from pipecd.model.application import Application
from pipecd.model.stage import Source
from pipecd.platforms.terraform import binary
from pipecd.platforms.terraform.changes import Changes
from pipecd.platforms.terraform.config import Provider
from pipecd.platforms.terraform.folder import Folder
from pipecd.platforms.terraform.source import input_place
from pipecd.platforms.terraform.terraform import Terraform

#: Short, because there is no lock to release (seconds).
GRACE_PERIOD = 3.0
#: Remedy of errors: such a run has no stage log.
NO_STAGE_LOG = "run it in the application's directory, or sync the application, to see the full output"


async def unlocked_plan(application: Application, provider: Any, source: Source) -> tuple[Changes, str]:
    """The changes of a new plan for `source`, and Terraform's text of it. The plan is discarded."""
    async with unlocked_terraform(application, provider, source) as terraform:
        return await terraform.preview()


@asynccontextmanager
async def unlocked_terraform(
    application: Application, provider: Any, source: Source
) -> AsyncIterator[Terraform]:
    """Terraform for `source`, initialised."""
    settings = provider or Provider()
    version = source.config.spec.input.terraform_version
    command = await binary.find_command(
        settings.binary, version, lambda: input_place(source, "terraformVersion")
    )
    # A separate path, because a deployment of the same application may be using the stable one.
    folder = await asyncio.to_thread(Folder, source, f"{application.id} {uuid4()}")
    terraform = Terraform(
        command, source, settings, folder, _NullLog(), grace_period=GRACE_PERIOD, remedy=NO_STAGE_LOG
    )
    try:
        await terraform.prepare()
        yield terraform
    finally:
        folder.link.unlink(missing_ok=True)


class _NullLog:
    """The log of a run that shows only its result. Failures are raised as errors."""

    def info(self, text: str) -> None: ...
    def success(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...
    async def drain(self) -> None: ...

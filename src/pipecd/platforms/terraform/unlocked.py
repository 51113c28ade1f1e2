"""Terraform that only looks, beside whatever a deployment of the same application does.

Called by `preview`, `drift` and `live`. The state is not locked: looking neither waits for a deployment nor
holds one up.
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
from pipecd.platforms.terraform.source import place
from pipecd.platforms.terraform.terraform import Terraform

#: There is no lock to give back (seconds).
GRACE = 3.0
#: Nobody keeps what such a run says.
UNLOGGED = "run it in the application's directory, or sync the application, to read all that it says"


async def unlocked_plan(application: Application, provider: Any, source: Source) -> tuple[Changes, str]:
    """What a plan of `source` would do now, and how Terraform tells it. The plan is thrown away."""
    async with unlocked(application, provider, source) as terraform:
        return await terraform.preview()


@asynccontextmanager
async def unlocked(application: Application, provider: Any, source: Source) -> AsyncIterator[Terraform]:
    """Terraform for `source`, initialised."""
    given = provider or Provider()
    version = source.config.spec.input.terraform_version
    command = await binary.find(given.binary, version, lambda: place(source, "terraformVersion"))
    # A path of its own: a deployment of the same application may be using the lasting one.
    folder = await asyncio.to_thread(Folder, source, f"{application.id} {uuid4()}")
    terraform = Terraform(command, source, given, folder, _Unread(), grace=GRACE, remedy=UNLOGGED)
    try:
        await terraform.prepare()
        yield terraform
    finally:
        folder.link.unlink(missing_ok=True)


class _Unread:
    """The log of a run of which only what it found is shown; what goes wrong rises as an error."""

    def info(self, text: str) -> None: ...
    def success(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...

"""What Terraform made for an application, as its state records it: no refresh, no lock, nothing changed.

Called by the agent's live-state loop. Whether the world still looks like that is for `drift` to say.
"""

import asyncio
from collections.abc import Sequence

from pipecd.model.look import Look
from pipecd.model.resource import Resource
from pipecd.platforms.terraform.source import Files
from pipecd.platforms.terraform.state import recorded
from pipecd.platforms.terraform.unlocked import unlocked


async def load_live_state(look: Look) -> Sequence[Resource]:
    wanted: Files = look.desired
    if not wanted.terraform:
        return []
    async with unlocked(look.application, look.provider, await look.head()) as terraform:
        state = await terraform.state()
    return await asyncio.to_thread(recorded, state)

"""Live state of a Terraform application: the resources in its state, read without refresh or lock.

Called by the agent's live-state loop. `drift` compares the state with the real infrastructure.
"""

import asyncio
from collections.abc import Sequence

from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Resource
from pipecd.platforms.terraform.source import Files
from pipecd.platforms.terraform.state import parse_state
from pipecd.platforms.terraform.unlocked import unlocked_terraform


async def load_live_state(request: ObservationRequest) -> Sequence[Resource]:
    desired: Files = request.desired
    if not desired.terraform:
        return []
    async with unlocked_terraform(
        request.application, request.provider, await request.checkout_head()
    ) as terraform:
        state = await terraform.state()
    return await asyncio.to_thread(parse_state, state)

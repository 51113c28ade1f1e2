"""What the agent's admin port says: `/healthz`, `/metrics` and `/version`, for whoever operates it."""

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from pipecd import admin_port
from pipecd.client import Client
from pipecd.piped.metrics import REGISTRY
from pipecd.telemetry import Answer, Health, admin_answer

#: An agent that could not talk to the control plane for so long does no work (seconds).
OUT_OF_TOUCH = 180.0


def health(client: Client, at_work: Collection[str]) -> Health:
    """Unwell once the control plane has not answered for long, unless deployments are `at_work`.

    Who looks here replaces what is unwell: that costs an idle agent nothing, but would tear a stage apart
    that can do its work without the control plane.
    """
    started = time.monotonic()

    async def check() -> str:
        silent = time.monotonic() - (client.last_success or started)
        if silent < OUT_OF_TOUCH or at_work:
            return ""
        return f"no good answer from the control plane at {client.address} for {silent:.0f} s"

    return check


@asynccontextmanager
async def served(health: Health, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port, which the system chose when `port` is 0."""

    async def pages(path: str) -> Answer:
        return await admin_answer(path, health, REGISTRY)

    async with admin_port.served(pages, host, port) as opened:
        yield opened

"""Deletes old change-feed rows, expired leases, and ended sessions that have expired."""

from pipecd.controlplane.services import Services
from pipecd.model.actor import Actor


async def run(services: Services, _: Actor) -> None:
    await services.store.feed.prune()
    await services.store.leases.prune()
    await services.sessions.prune()

"""Deletes old change-feed rows and expired leases."""

from pipecd.controlplane.services import Services


async def run(services: Services) -> None:
    await services.store.feed.prune()
    await services.store.leases.prune()

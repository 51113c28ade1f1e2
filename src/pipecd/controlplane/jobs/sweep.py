"""Removes what nobody reads any more: told changes, leases long over."""

from pipecd.controlplane.services import Plane


async def run(plane: Plane) -> None:
    await plane.store.feed.prune()
    await plane.store.leases.sweep()

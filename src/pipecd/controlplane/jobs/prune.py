"""Deletes old change-feed rows, expired leases and sessions, and messages that no replica has read."""

from pipecd.controlplane.services import Services
from pipecd.controlplane.store.kinds import REPLICA_MESSAGE
from pipecd.model.actor import Actor


async def run(services: Services, _: Actor) -> None:
    await services.store.feed.prune()
    await services.store.leases.prune()
    await services.sessions.prune()
    before = services.clock.now() - services.settings.relay.retention
    await services.store.prune_metadata(REPLICA_MESSAGE, before)

"""Deletes what is out of date: rows of the change feed, leases, sessions, messages of replicas, and keys of
notifications.
"""

from pipecd.controlplane.services import Services
from pipecd.controlplane.store import outbox
from pipecd.controlplane.store.kinds import REPLICA_MESSAGE
from pipecd.model.actor import Actor


async def run(services: Services, _: Actor) -> None:
    await services.store.feed.prune()
    await services.store.leases.prune()
    await services.sessions.prune()
    await outbox.prune(services.store, services.clock.now())
    before = services.clock.now() - services.settings.relay.retention
    await services.store.prune_metadata(REPLICA_MESSAGE, before)

"""Deletes what is out of date: rows of the change feed, leases, sessions, counters of failed sign-ins,
messages of replicas, and keys of notifications.
"""

from pipecd.controlplane.services import Services
from pipecd.controlplane.store import outbox, sign_in_failures
from pipecd.controlplane.store.kinds import REPLICA_MESSAGE
from pipecd.model.actor import Actor


async def run(services: Services, _: Actor) -> None:
    await services.store.feed.prune()
    await services.store.leases.prune()
    await services.sessions.prune()
    now = services.clock.now()
    await sign_in_failures.prune(
        services.store.database, now=now, max_counters=services.settings.auth.max_counters
    )
    await outbox.prune(services.store, now)
    before = now - services.settings.relay.retention
    await services.store.prune_metadata(REPLICA_MESSAGE, before)

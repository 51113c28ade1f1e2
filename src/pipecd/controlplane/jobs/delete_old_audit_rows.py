"""Deletes rows of the audit log that are older than `spec.audit.retention`."""

from pipecd.controlplane.services import Services
from pipecd.controlplane.store import audit_chain
from pipecd.model.actor import Actor


async def run(services: Services, by: Actor) -> None:
    if services.audit_retention:
        now = services.clock.now()
        before = int((now - services.audit_retention) * 1_000_000)
        await audit_chain.delete_old(services.store.database, before, int(now * 1_000_000), by)

"""Adds new rows of the audit log to the hash chains of their projects."""

from pipecd.controlplane.services import Services
from pipecd.controlplane.store import audit_chain
from pipecd.model.actor import Actor


async def run(services: Services, _: Actor) -> None:
    await audit_chain.seal(services.store.database)

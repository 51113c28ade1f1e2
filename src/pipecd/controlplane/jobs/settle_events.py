"""Ends events whose event watchers are gone, and those that no agent handled."""

from pipecd.controlplane.records import events
from pipecd.controlplane.services import Services
from pipecd.model.actor import Actor


async def run(services: Services, by: Actor) -> None:
    await events.settle_all(services, by)

"""The agent's admin port: serves `/healthz`, `/metrics` and `/version` to operators and health checks."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from pipecd import admin_port
from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.piped.metrics import REGISTRY
from pipecd.telemetry import AdminResponse, Health, answer_admin_request
from pipecd.watchdog import Watchdog


def health_check(
    client: Client, active_deployments: Collection[str], clock: Clock, unreachable_timeout: float
) -> Health:
    """Unhealthy once the control plane has been unreachable for `unreachable_timeout` seconds and no
    deployment is active.

    Health checks replace an unhealthy process. That is harmless for an idle agent, but would interrupt a
    running stage, which can continue without the control plane.
    """
    started = clock.monotonic()

    async def check() -> str:
        last_success = started if client.last_success is None else client.last_success
        unreachable = clock.monotonic() - last_success
        if unreachable < unreachable_timeout or active_deployments:
            return ""
        return f"the control plane at {client.address} has been unreachable for {unreachable:.0f} s"

    return check


@asynccontextmanager
async def serve(health: Health, watchdog: Watchdog, host: str, port: int) -> AsyncIterator[int]:
    """Serves while the block runs. Yields the port, which the system chooses if `port` is 0."""

    async def handle(path: str) -> AdminResponse:
        return await answer_admin_request(path, health, REGISTRY, remark=watchdog.remark)

    async with admin_port.serve(handle, host, port) as bound_port:
        yield bound_port

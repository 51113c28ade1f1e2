"""The admin endpoints of launcher and agent together.

The agent listens on a loopback port; the launcher forwards requests to it. While an agent is being installed
or replaced, `/healthz` reports healthy for as long as that may take. An agent that fails repeatedly is
reported as unhealthy.
"""

import json

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pipecd import __version__
from pipecd.admin_port import http_get
from pipecd.clock import Clock
from pipecd.errors import Temporary
from pipecd.telemetry import AdminResponse

REGISTRY = CollectorRegistry()
STARTS = Counter("launcher_agent_starts", "Agents started.", registry=REGISTRY)
FAILURES = Counter("launcher_agent_failures", "Agents that ended unexpectedly.", registry=REGISTRY)
CHECKS_FAILED = Counter(
    "launcher_checks_failed", "Failed checks for a new configuration or version.", registry=REGISTRY
)
UP = Gauge("launcher_agent_up", "1 while an agent process is running.", registry=REGISTRY)


class AdminHandler:
    """Handles requests to the admin port.

    `agent_port` and `agent_version` are those of the running agent, 0 and empty without one; `activity`
    describes what the launcher is doing, for health responses. `unresponsive_timeout` is in seconds.
    """

    def __init__(self, *, unresponsive_timeout: float, clock: Clock) -> None:
        self.agent_port, self.agent_version, self.activity = 0, "", "starting"
        self._unresponsive_timeout, self._clock = unresponsive_timeout, clock
        self._healthy_until = 0.0

    def extend_downtime(self, seconds: float) -> None:
        """Report healthy without an agent for at least `seconds`, for a planned operation."""
        self._healthy_until = max(self._healthy_until, self._clock.monotonic() + seconds)

    def limit_downtime(self, seconds: float) -> None:
        """Report unhealthy unless an agent answers within `seconds`: the planned operation is complete."""
        self._healthy_until = self._clock.monotonic() + seconds

    async def __call__(self, path: str) -> AdminResponse:
        match path.split("?")[0]:
            case "/healthz":
                return await self._healthz()
            case "/version":
                versions = {"version": __version__, "piped": self.agent_version}
                return 200, "application/json", json.dumps(versions).encode()
            case "/metrics":
                return await self._metrics()
            case _:
                return await self._forward(path)

    async def _healthz(self) -> AdminResponse:
        code, content_type, body = await self._forward("/healthz")
        if code == 200:
            self._healthy_until = self._clock.monotonic() + self._unresponsive_timeout
        elif code == 502 and self._clock.monotonic() < self._healthy_until:
            return 200, "text/plain", f"ok: {self.activity}".encode()
        return code if code in (200, 503) else 503, content_type, body

    async def _metrics(self) -> AdminResponse:
        code, content_type, body = await self._forward("/metrics")
        launcher_metrics = generate_latest(REGISTRY)
        if code == 200:
            return 200, content_type, body + launcher_metrics
        return 200, "text/plain; version=0.0.4", launcher_metrics

    async def _forward(self, path: str) -> AdminResponse:
        """The agent's response; 502 if no agent answers."""
        try:
            if self.agent_port:
                return await http_get(self.agent_port, path)
        except Temporary:
            pass
        return 502, "text/plain", f"no agent answers: {self.activity}".encode()

"""What the one admin port says for launcher and agent together.

The agent listens on a port of this machine alone; the launcher hands its pages on. While an agent is being
installed or exchanged the two are well, for as long as that may take. One that dies again and again is not.
"""

import json
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pipecd import __version__
from pipecd.admin_port import asked
from pipecd.errors import Temporary
from pipecd.telemetry import Answer

REGISTRY = CollectorRegistry()
STARTS = Counter("launcher_agent_starts", "Agents started.", registry=REGISTRY)
FAILURES = Counter("launcher_agent_failures", "Agents that ended unasked.", registry=REGISTRY)
CHECKS_FAILED = Counter("launcher_checks_failed", "Looks for a new wish that failed.", registry=REGISTRY)
UP = Gauge("launcher_agent_up", "1 while an agent's process runs.", registry=REGISTRY)


class Pages:
    """`port` and `version` are the running agent's, 0 and empty without one; `doing` is told meanwhile."""

    def __init__(self, *, silence: float) -> None:
        self.port, self.version, self.doing = 0, "", "starting"
        self._silence = silence
        self._well_until = 0.0

    def excused(self, seconds: float) -> None:
        """Something that was planned begins, and takes so long at most."""
        self._well_until = max(self._well_until, time.monotonic() + seconds)

    def expected(self, seconds: float) -> None:
        """What was planned is done: an agent is to answer within so long."""
        self._well_until = time.monotonic() + seconds

    async def __call__(self, path: str) -> Answer:
        match path.split("?")[0]:
            case "/healthz":
                return await self._healthz()
            case "/version":
                told = {"version": __version__, "piped": self.version}
                return 200, "application/json", json.dumps(told).encode()
            case "/metrics":
                return await self._metrics()
            case _:
                return await self._agent(path)

    async def _healthz(self) -> Answer:
        code, kind, body = await self._agent("/healthz")
        if code == 200:
            self._well_until = time.monotonic() + self._silence
        elif code == 502 and time.monotonic() < self._well_until:
            return 200, "text/plain", f"ok: {self.doing}".encode()
        return code if code in (200, 503) else 503, kind, body

    async def _metrics(self) -> Answer:
        code, kind, body = await self._agent("/metrics")
        own = generate_latest(REGISTRY)
        return (200, kind, body + own) if code == 200 else (200, "text/plain; version=0.0.4", own)

    async def _agent(self, path: str) -> Answer:
        """502 when no agent answers."""
        try:
            if self.port:
                return await asked(self.port, path)
        except Temporary:
            pass
        return 502, "text/plain", f"no agent answers: {self.doing}".encode()

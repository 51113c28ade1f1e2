"""Metrics that are read from the database when they are scraped, and those that agents report.

All replicas publish the same values. They are read at most every `MAX_AGE` seconds, those of agents every
`AGENTS_MAX_AGE` seconds, however often they are scraped.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from prometheus_client import REGISTRY, Gauge, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from pipecd.clock import timeout
from pipecd.controlplane.records.pipeds import STATS_LIFETIME
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import outbox
from pipecd.controlplane.store.kinds import STATISTICS
from pipecd.controlplane.store.tables import applications
from pipecd.errors import PipecdError

log = structlog.get_logger()

#: In seconds. Agents report every minute, and reading a series takes 60 µs of CPU time.
MAX_AGE, AGENTS_MAX_AGE = 15.0, 30.0
#: How long the database may take (seconds); older values are published then.
READ_TIMEOUT = 5.0
#: Of the metrics of one agent, in bytes, and how many series of all are published.
MAX_AGENT_SIZE, MAX_SERIES = 256 * 1024, 200_000
#: Labels that tell whose metrics they are, whatever the agent writes.
PROJECT, PIPED = "project", "piped"

APPLICATIONS = Gauge(
    "insight_application_total", "Applications, also disabled ones.", ["project", "app_kind"]
)
OUTBOX_PENDING = Gauge(
    "pipecd_outbox_pending", "Messages that wait for a receiver of a project.", ["project", "receiver"]
)
_COUNT = (
    sa.select(applications.c.project_id, applications.c.kind_name, sa.func.count().label("count"))
    .where(applications.c.deleted == 0)
    .group_by(applications.c.project_id, applications.c.kind_name)
)


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The metrics of an agent, in Prometheus' text format."""

    project_id: str
    piped_id: str
    text: bytes


class Metrics:
    """`refresh` sets the gauges; `of_agents` is the page of all agents."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._refreshed_at = self._agents_read_at = -math.inf
        self._agents: Sequence[Metric] = ()
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Set the gauges that are read from the database. Without it, they keep their values."""
        async with self._lock:
            now = self._services.clock.monotonic()
            if now - self._refreshed_at < MAX_AGE:
                return
            store = self._services.store
            try:
                async with timeout(self._services.clock, READ_TIMEOUT):
                    counts = await store.database.rows(_COUNT)
                    waiting = await outbox.waiting(store)
            except (PipecdError, TimeoutError) as error:
                log.warning("metrics_not_read", error=str(error) or "the database does not respond")
                return
            APPLICATIONS.clear()
            for row in counts:
                APPLICATIONS.labels(row.project_id, row.kind_name).set(row.count)
            OUTBOX_PENDING.clear()
            for (project_id, receiver), count in waiting.items():
                OUTBOX_PENDING.labels(project_id, receiver).set(count)
            self._refreshed_at = now

    async def page(self, *, own: bool) -> bytes:
        """What agents have reported within two minutes, with the labels `project` and `piped`.

        With `own`, after the metrics of this process.
        """
        agents = await self._of_agents()
        first = REGISTRY.collect() if own else ()
        return await asyncio.to_thread(_text, [*first, *agents])

    async def _of_agents(self) -> Sequence[Metric]:
        async with self._lock:
            now = self._services.clock.monotonic()
            if now - self._agents_read_at >= AGENTS_MAX_AGE:
                try:
                    async with timeout(self._services.clock, READ_TIMEOUT):
                        since = self._services.clock.now() - STATS_LIFETIME
                        rows = await self._services.store.recent_metadata(STATISTICS, since)
                except (PipecdError, TimeoutError) as error:
                    log.warning("metrics_not_read", error=str(error) or "the database does not respond")
                    return self._agents
                reported = [
                    Reported(project_id=row.project_id, piped_id=row.id, text=row.data) for row in rows
                ]
                self._agents = await asyncio.to_thread(merge, reported)
                self._agents_read_at = now
            return self._agents


def merge(reports: Iterable[Reported]) -> Sequence[Metric]:
    """The metrics of all agents. An agent whose metrics are invalid or too large is left out."""
    families: list[Metric] = []
    series = 0
    for report in reports:
        try:
            own = list(_families(report))
        except Exception as error:  # noqa: BLE001 an agent sends any text, and the parser raises many types
            log.warning("agent_metrics_invalid", piped=report.piped_id, error=type(error).__name__)
            continue
        series += sum(len(family.samples) for family in own)
        if series > MAX_SERIES:
            log.warning("agent_metrics_incomplete", limit=MAX_SERIES)
            break
        families += own
    return families


def _text(metrics: Iterable[Metric]) -> bytes:
    """Each metric once, with the series of all that have the same name and type."""
    families: dict[str, Metric] = {}
    for metric in metrics:
        first = families.get(metric.name)
        if first is None:
            families[metric.name] = first = Metric(metric.name, metric.documentation, metric.type)
        if first.type == metric.type:
            first.samples.extend(metric.samples)
    return generate_latest(_Page(families.values()))


class _Page:
    """What `generate_latest` reads of a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(report: Reported) -> Iterator[Metric]:
    if len(report.text) > MAX_AGENT_SIZE:
        raise ValueError("too large")
    owner = {PROJECT: report.project_id, PIPED: report.piped_id}
    for family in text_string_to_metric_families(report.text.decode()):
        # Without the time that the agent may write: Prometheus refuses a page with an old one.
        samples = [
            sample._replace(labels={**sample.labels, **owner}, timestamp=None, exemplar=None)
            for sample in family.samples
        ]
        family.samples = samples
        yield family

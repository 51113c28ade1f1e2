"""Analysis providers: the values of metrics and the lines of logs that ANALYSIS stages judge.

One module per service; each returns numbers or lines, and the verdict is `model.analysis`'s. `Providers`
finds the provider of the agent's configuration by its name.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from pipecd import tracing
from pipecd.analysis import (
    cloud_logging,
    cloud_monitoring,
    cloudwatch,
    cloudwatch_logs,
    datadog,
    loki,
    prometheus,
)
from pipecd.analysis.http import request
from pipecd.config.analysis import (
    CloudMonitoringConfig,
    CloudWatchConfig,
    DatadogConfig,
    LokiConfig,
    PrometheusConfig,
    decode_provider,
)
from pipecd.config.document import Document
from pipecd.config.piped import PipedSpec
from pipecd.errors import ConfigError, Refused
from pipecd.model.analysis import HttpAnswer, Point
from pipecd.templates import render

#: Lines of a log that one query returns.
MAX_LINES = 100


class Providers:
    """Implements `model.analysis.AnalysisProviders`."""

    def __init__(self, spec: PipedSpec, *, poll_interval: float = cloudwatch_logs.POLL_INTERVAL) -> None:
        """Raises ConfigError for an invalid provider or `linkTemplate`.

        `poll_interval`: between two requests for the result of a query that runs in the background (seconds).
        """
        self._poll_interval = poll_interval
        document = Document(file="the agent's configuration", kind="Piped", spec={}, lines={})
        self._configs: Mapping[str, Any] = {
            provider.name: decode_provider(provider.type, provider.config, document, index)
            for index, provider in enumerate(spec.analysis_providers)
        }
        self._links = {provider.name: provider.link_template for provider in spec.analysis_providers}
        for name in self._links:
            self.link(name, "up", 0, 1)
        self._google = {
            name: cloud_monitoring.credentials_of(config)
            for name, config in self._configs.items()
            if isinstance(config, CloudMonitoringConfig)
        }

    async def points(self, provider: str, query: str, start: float, end: float) -> Sequence[Point]:
        with _span_of_query(provider):
            return await self._query_points(provider, query, start, end)

    async def _query_points(self, provider: str, query: str, start: float, end: float) -> Sequence[Point]:
        self.check_metrics(provider)
        match config := self._configs[provider]:
            case PrometheusConfig():
                return await prometheus.query_range(config, query, start, end)
            case DatadogConfig():
                return await datadog.query(config, query, start, end)
            case CloudMonitoringConfig():
                return await cloud_monitoring.query_range(config, self._google[provider], query, start, end)
            case CloudWatchConfig():
                return await cloudwatch.query(config, query, start, end)
        raise AssertionError(config)

    async def log_lines(self, provider: str, query: str, start: float, end: float) -> Sequence[str]:
        with _span_of_query(provider):
            return await self._query_lines(provider, query, start, end)

    async def _query_lines(self, provider: str, query: str, start: float, end: float) -> Sequence[str]:
        self.check_logs(provider)
        match config := self._configs[provider]:
            case LokiConfig():
                return await loki.query_range(config, query, start, end, limit=MAX_LINES)
            case CloudWatchConfig():
                return await cloudwatch_logs.query(
                    config, query, start, end, limit=MAX_LINES, poll_interval=self._poll_interval
                )
            case CloudMonitoringConfig():
                return await cloud_logging.list_entries(
                    config, self._google[provider], query, start, end, limit=MAX_LINES
                )
        raise AssertionError(config)

    def check_metrics(self, provider: str) -> None:
        if isinstance(self._find(provider), LokiConfig):
            raise Refused(
                f"the analysis provider {provider} has logs, but no metrics",
                remedy="use a provider of another type",
            )

    def check_logs(self, provider: str) -> None:
        if not isinstance(self._find(provider), LokiConfig | CloudWatchConfig | CloudMonitoringConfig):
            raise Refused(
                f"the analysis provider {provider} has no logs",
                remedy="use a provider of type LOKI, CLOUDWATCH or STACKDRIVER",
            )

    def link(self, provider: str, query: str, start: float, end: float) -> str:
        template = self._links.get(provider, "")
        if not template:
            return ""
        data = {
            "Query": quote(query, safe=""),
            "Start": str(int(start * 1000)),
            "End": str(int(end * 1000)),
            "StartSeconds": str(int(start)),
            "EndSeconds": str(int(end)),
        }
        return render(template, data, f"linkTemplate of the analysis provider {provider}").text

    async def request(self, method: str, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        answer = await request(method, url, headers=headers)
        return HttpAnswer(status=answer.status, body=answer.body.decode(errors="replace"))

    def _find(self, name: str) -> Any:
        if name not in self._configs:
            raise ConfigError(
                f"this agent has no analysis provider {name}",
                remedy="add it to spec.analysisProviders of the agent, or correct the name",
            )
        return self._configs[name]


def _span_of_query(provider: str) -> AbstractContextManager[object]:
    """Without the query, which may contain what the reader of a trace must not see."""
    return tracing.child("analysis query", attributes={"provider": provider})

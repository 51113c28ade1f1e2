"""Reference page of the Prometheus metrics, from the registries of the programs."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, REGISTRY, CollectorRegistry

import pipecd.controlplane
from docsite.markdown import code, page, table
from pipecd.launcher import health
from pipecd.piped import metrics

#: Collectors of prometheus_client itself.
_STANDARD = {GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR}
_HEADER = ("Metric", "Type", "Labels", "Meaning")


def pages() -> Mapping[str, str]:
    """Page text by path below docs/reference."""
    return {
        "metrics.md": page(
            "Metrics",
            "All programs serve their metrics at `/metrics` of the admin port, in Prometheus' text format."
            " The launcher serves the agent's metrics too.",
            f"## Agent\n\n{_table(_agent_registry())}",
            "The control plane stores what each agent reports once a minute, and publishes it at"
            " `/metrics/agents` of its admin port with the labels `project` and `piped`; `pipecd ops` in"
            " `/metrics` too, as in PipeCD.",
            f"## Control plane\n\n{_table(_control_plane_registry())}",
            "The control plane also serves `process_*` and `python_*`, the standard metrics of"
            " `prometheus_client`.",
            f"## Launcher\n\n{_table(health.REGISTRY)}",
        )
    }


def collectors(registry: CollectorRegistry) -> Iterator[Any]:
    """The collectors of our own metrics, by name. Only private members give a collector's name and labels."""
    own: list[Any] = [item for item in registry._collector_to_names if item not in _STANDARD]
    yield from sorted(own, key=lambda collector: str(collector._name))


def registries() -> Iterator[CollectorRegistry]:
    yield from (_agent_registry(), _control_plane_registry(), health.REGISTRY)


def _agent_registry() -> CollectorRegistry:
    """The agent's registry, after its stages and platforms have registered their metrics."""
    for module in ("pipecd.stages.analysis", "pipecd.platforms.kubernetes.metrics"):
        importlib.import_module(module)
    return metrics.REGISTRY


def _control_plane_registry() -> CollectorRegistry:
    """The default registry, after all modules of the control plane have registered their metrics."""
    for module in pkgutil.walk_packages(pipecd.controlplane.__path__, "pipecd.controlplane."):
        if ".store.migrations." not in module.name:
            importlib.import_module(module.name)
    return REGISTRY


def _table(registry: CollectorRegistry) -> str:
    return table(_HEADER, (_row(collector) for collector in collectors(registry)))


def _row(collector: Any) -> tuple[str, str, str, str]:
    (metric,) = collector.describe()
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    labels = ", ".join(code(label) for label in collector._labelnames)
    meaning = metric.documentation.rstrip(".") + "."
    if metric.type == "histogram":
        bounds = ", ".join(f"{bound:g}" for bound in collector._kwargs["buckets"])
        meaning += f" Upper bounds of the buckets: {bounds}."
    return code(name), metric.type, labels, meaning

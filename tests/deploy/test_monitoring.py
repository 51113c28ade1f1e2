"""Dashboards and alerts: their queries run on a real Prometheus, and name metrics that programs have."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml

from docsite.metrics import collectors, registries
from tests.analysis.prometheus_server import prometheus_server

DEPLOY = Path(__file__).parents[2] / "deploy"
#: Suffixes of a histogram's series.
_SUFFIX = re.compile(r"_(bucket|count|sum)$")
_NAME = re.compile(r"\b[a-z]+_[a-z_]+\b(?=\s*(?:[{\[)]|$))")
_STANDARD = {"process_resident_memory_bytes"}


def queries() -> Iterator[tuple[str, str]]:
    for file in sorted((DEPLOY / "grafana").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            yield from ((f"{file.name}: {panel['title']}", target["expr"]) for target in panel["targets"])
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


def exposed() -> set[str]:
    names = set(_STANDARD)
    for registry in registries():
        for collector in collectors(registry):
            (metric,) = collector.describe()
            names.add(f"{metric.name}_total" if metric.type == "counter" else metric.name)
    return names


def test_every_metric_of_a_query_is_exposed() -> None:
    names = exposed()
    for title, query in queries():
        used = {_SUFFIX.sub("", name) for name in _NAME.findall(re.sub(r'"[^"]*"', "", query))}
        assert used and used <= names, f"{title}: {sorted(used - names)}"


def labels_of(query: str) -> set[str]:
    """Those that it selects or groups by."""
    grouped = {name for text in re.findall(r"\bby \(([^)]*)\)", query) for name in re.split(r",\s*", text)}
    return grouped | set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))


def test_every_label_of_a_query_is_one_of_its_metrics() -> None:
    labels: dict[str, set[str]] = {}
    for registry in registries():
        for collector in collectors(registry):
            (metric,) = collector.describe()
            labels.setdefault(metric.name, set()).update(collector._labelnames)
    checked = 0
    for title, query in queries():
        names = {_SUFFIX.sub("", name) for name in re.findall(r"\b[a-z]+_[a-z_]+\b", query)}
        names |= {name.removesuffix("_total") for name in names}
        known = {"instance", "le"}.union(*(labels.get(name, set()) for name in names))
        used = labels_of(query)
        assert used <= known, f"{title}: {sorted(used - known)}"
        checked += bool(used)
    assert checked > 30


async def test_prometheus_runs_every_query(tmp_path: Path) -> None:
    async with prometheus_server(tmp_path, {}) as server, httpx.AsyncClient(verify=False) as client:

        async def run(title: str, query: str) -> None:
            response = await client.get(f"{server.address}/api/v1/query", params={"query": query})
            assert response.status_code == 200, f"{title}: {response.text}"

        await asyncio.gather(*(run(title, query) for title, query in queries()))

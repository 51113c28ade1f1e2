"""What the provider makes of a real Prometheus's answers.

Deployments that one of them rolls back are in `test_e2e.py` of ECS and Kubernetes.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipecd.errors import Refused
from tests.analysis.prometheus_server import prometheus_server
from tests.analysis.test_providers import providers


async def test_answers_of_prometheus_are_read_and_its_errors_reported(tmp_path: Path) -> None:
    values = {'errors{variant="primary"}': 1.0, 'errors{variant="canary"}': 7.0}
    async with prometheus_server(tmp_path, values) as prometheus:
        await prometheus.wait_for("errors")
        await check_values(tmp_path, prometheus.address)


async def check_values(folder: Path, address: str) -> None:
    found = providers(folder, {"name": "p", "type": "PROMETHEUS", "config": {"address": address}})
    now = datetime.now(UTC).timestamp()
    assert {point.value for point in await found.points("p", "errors", now - 2, now)} == {1.0, 7.0}
    assert await found.points("p", 'errors{variant="none"}', now - 2, now) == []
    assert await found.points("p", "0 / (errors - errors)", now - 2, now) == []
    with pytest.raises(Refused, match=r"Prometheus answered 400: .*parse error"):
        await found.points("p", "errors{", now - 2, now)

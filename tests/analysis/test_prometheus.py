"""The ANALYSIS stage with a real Prometheus, from a push to the rollback."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipecd.errors import Refused
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.analysis.prometheus_server import prometheus_server
from tests.analysis.test_providers import providers
from tests.world import pipeline, world

QUERY = 'errors{variant="{{ .Variant.Name }}"}'


def file(number: int) -> str:
    metrics = [{"provider": "p", "query": QUERY, "expected": {"max": 2}, "interval": "1s"}]
    analysis = {"name": "ANALYSIS", "with": {"duration": "1s", "metrics": metrics}}
    script = {"name": "SCRIPT_RUN", "with": {"run": f"echo {number}", "onRollback": "echo rolled back"}}
    return pipeline(script, analysis, planner={"autoRollback": True})


async def test_a_bad_metric_rolls_the_deployment_back(tmp_path: Path) -> None:
    values = {'errors{variant="primary"}': 1.0, 'errors{variant="canary"}': 7.0}
    async with prometheus_server(tmp_path, values) as prometheus:
        settings = {"address": prometheus.address}
        entry = {"name": "p", "type": "PROMETHEUS", "config": settings}
        await prometheus.wait_for("errors")
        await check_values(tmp_path, prometheus.address)
        async with world(tmp_path) as w, w.agent(analysisProviders=[entry]):
            app = await w.add_application("shop", {"app.pipecd.yaml": file(1)})
            good = await w.wait_for_deployment(app)
            assert good.status == DeploymentStatus.DEPLOYMENT_SUCCESS, good.status_reason
            await w.wait_for_log(good.id, "stage-1", "[metrics-0] passed: metrics-0: ")
            await w.wait_for_log(good.id, "stage-1", '[metrics-0] query: errors{variant="primary"}')

            prometheus.values['errors{variant="primary"}'] = 5.0
            commit = await w.push("Break it", {"shop/app.pipecd.yaml": file(2)})
            bad = await w.wait_for_deployment(app, commit)
            assert bad.status == DeploymentStatus.DEPLOYMENT_FAILURE
            stages = {stage.id: stage for stage in bad.stages}
            assert stages["stage-1"].status == StageStatus.STAGE_FAILURE
            assert "metrics-0: 5 is above 2" in stages["stage-1"].status_reason
            rollback = next(stage for stage in bad.stages if stage.rollback)
            assert rollback.status == StageStatus.STAGE_SUCCESS


async def check_values(folder: Path, address: str) -> None:
    """What the provider makes of Prometheus's answers."""
    found = providers(folder, {"name": "p", "type": "PROMETHEUS", "config": {"address": address}})
    now = datetime.now(UTC).timestamp()
    assert {point.value for point in await found.points("p", "errors", now - 2, now)} == {1.0, 7.0}
    assert await found.points("p", 'errors{variant="none"}', now - 2, now) == []
    assert await found.points("p", "0 / (errors - errors)", now - 2, now) == []
    with pytest.raises(Refused, match=r"Prometheus answered 400: .*parse error"):
        await found.points("p", "errors{", now - 2, now)

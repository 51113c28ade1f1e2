"""A promotion on Cloud Run has the same result whenever the agent is killed with SIGKILL.

The emulated Google Cloud keeps running. After every change, all traffic is on revisions that are ready.
"""

from contextlib import aclosing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.platforms.cloudrun.traffic import shares_of
from pipecd.quickstart.cloud_run import CloudRun, serve
from pipecd.schema.model.kind_pb2 import CLOUDRUN
from tests.faults.aws_kill_cycles import AWS_KILLS, deploy_first, run_kill_cycles
from tests.faults.processes import start_processes
from tests.platforms.cloudrun.conftest import SERVICE, check_traffic, provider_of, service
from tests.platforms.cloudrun.schema import check_body

STAGES: list[dict[str, Any]] = [
    {"name": "CLOUDRUN_PROMOTE", "with": {"percent": 10}},
    {"name": "CLOUDRUN_PROMOTE", "with": {"percent": 60}},
    {"name": "CLOUDRUN_PROMOTE", "with": {"percent": 100}},
]
#: No server has this address, so that no check is conclusive.
CHECK = {"url": "http://127.0.0.1:9", "method": "GET", "expectedCode": 200, "interval": "1s"}
FAILING = {"name": "ANALYSIS", "with": {"duration": "1s", "https": [CHECK]}}

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300 + AWS_KILLS * 60)]


def commit(tag: str, cut: int | None) -> dict[str, str]:
    stages = STAGES if cut is None else [*STAGES[:cut], FAILING]
    spec = {"name": "shop", "pipeline": {"stages": stages}}
    config = {"apiVersion": "pipecd.dev/v1beta1", "kind": "CloudRunApp", "spec": spec}
    return {"app.pipecd.yaml": yaml.safe_dump(config), "service.yaml": yaml.safe_dump(service(tag))}


async def test_a_promotion_has_the_same_result_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    cloud = CloudRun(check_body=check_body)
    cloud.after_change = lambda _: check_traffic(cloud)
    seen: list[dict[str, int]] = []

    def record() -> None:
        """What users get, by the tag of the image."""
        shares = shares_of(cloud.objects["services"][SERVICE])
        seen.append({name.split("-")[1]: share for name, share in shares.items()})

    with serve(cloud) as endpoint:
        config = provider_of(endpoint, tmp_path).model_dump(by_alias=True)
        providers = [{"name": "cloudrun", "type": "CLOUDRUN", "config": config}]
        async with start_processes(tmp_path, platformProviders=providers) as m:
            first = await deploy_first(m, commit("v1", None), CLOUDRUN, "cloudrun")
            cloud.on_change, old, ended = record, "v1", 0
            cycles = run_kill_cycles(m, first.application_id, cloud, commit, cuts=(2,))  # type: ignore[arg-type]
            async with aclosing(cycles):  # type: ignore[type-var]
                async for cycle in cycles:
                    new = cycle.tag
                    steps = [{old: 100}, {old: 90, new: 10}, {old: 40, new: 60}]
                    steps.append({old: 100} if cycle.cut else {new: 100})
                    assert [shares for shares, _ in groupby(seen) if shares] == steps
                    revisions = [name for name in cloud.objects["revisions"] if f"-{new}-" in name]
                    assert len(revisions) == 1, "created once"
                    live = cloud.objects["services"][SERVICE]
                    assert not [target["tag"] for target in live["spec"]["traffic"] if "tag" in target]
                    if cycle.cut:
                        assert cycle.deployment.status_reason.startswith("Stage ANALYSIS failed: http-0: ")
                    old, ended = (old if cycle.cut else new), ended + 1
                    seen[:] = seen[-1:]
                    # By default one deployment, which is rolled back or not by the seed.
                    if ended >= AWS_KILLS // 12:
                        break

"""A plan is stored and applied without approval while agent and control plane are killed at random times."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.faults.kills import KILLS, SEED, kill_until_ended, random_delay
from tests.faults.processes import start_processes
from tests.world import app_file, terraform

#: A run of Terraform needs time to make progress.
MOMENT = random_delay(3.0)
RESOURCES = 3
TERRAFORM_KILLS = max(4, KILLS // 5)

pytestmark = pytest.mark.kill

STAGES = [
    {"name": "TERRAFORM_PLAN"},
    {"name": "WAIT", "with": {"duration": "1s"}},
    {"name": "TERRAFORM_APPLY"},
    {"name": "SCRIPT_RUN", "with": {"run": "true"}},
]
FAILING = [*STAGES[:3], {"name": "SCRIPT_RUN", "with": {"run": "exit 3"}}]


def configuration(state: Path, ledger: Path, value: int) -> str:
    """Resources that are replaced when `value` changes, each with a countable effect."""
    body = f"""
resource "terraform_data" "effect" {{
  count            = {RESOURCES}
  input            = "{value}"
  triggers_replace = "{value}"
  provisioner "local-exec" {{
    command = "sleep 0.3; echo {value}-${{count.index}} >> {ledger}"
  }}
}}
"""
    return terraform(state, body)


def values(state: Path) -> list[str]:
    """The values of the resources in Terraform's state."""
    resources = json.loads(state.read_text())["resources"]
    instances = [instance for resource in resources for instance in resource["instances"]]
    assert not any(instance.get("status") == "tainted" for instance in instances)
    return [instance["attributes"]["input"]["value"] for instance in instances]


@pytest.mark.timeout(600 + TERRAFORM_KILLS * 60)
async def test_terraform_applies_the_reviewed_plan_whichever_process_is_killed(tmp_path: Path) -> None:
    print(f"PIPECD_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    remaining_kills, value, good = TERRAFORM_KILLS, 0, 0
    state, ledger = tmp_path / "shop.tfstate", tmp_path / "ledger"
    ledger.touch()

    def files(stages: Sequence[object]) -> dict[str, str | None]:
        text = app_file(pipeline={"stages": stages}, planner={"autoRollback": True})
        return {"app.pipecd.yaml": text, "main.tf": configuration(state, ledger, value)}

    async with start_processes(tmp_path) as m:
        app = await m.add_application("shop", files(STAGES))
        first = await m.wait_for_deployment(app, within=240)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        while remaining_kills > 0:
            value += 1
            fails = value % 3 == 0
            before = len(ledger.read_text().split())
            changed = files(FAILING if fails else STAGES)
            commit = await m.push(f"Value {value}", {f"shop/{name}": text for name, text in changed.items()})
            kills = await kill_until_ended(m, app, commit, rng, remaining_kills, moment=MOMENT)
            remaining_kills -= kills
            ended = await m.wait_for_deployment(app, commit, within=240)
            by_name = {stage.name: stage for stage in ended.stages}
            assert by_name["TERRAFORM_APPLY"].status == StageStatus.STAGE_SUCCESS, ended.status_reason
            if fails:
                assert ended.status == DeploymentStatus.DEPLOYMENT_FAILURE
                assert by_name["ROLLBACK"].status == StageStatus.STAGE_SUCCESS, by_name["ROLLBACK"]
            else:
                assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason
                good = value
            assert values(state) == [str(good)] * RESOURCES
            effects = Counter(ledger.read_text().split()[before:])
            expected = {value, good}
            # Terraform does not run the provisioner if it is killed between it and creating the resource.
            assert set(effects) <= {f"{item}-{index}" for item in expected for index in range(RESOURCES)}
            assert all(count <= 1 + kills for count in effects.values()), effects

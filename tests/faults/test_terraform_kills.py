"""A plan is shown, approved by nobody, and applied while agent and control plane are killed at random."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.stage_pb2 import StageStatus
from tests.faults.kills import KILLS, SEED, kill_until_over, some_time
from tests.faults.machines import machines
from tests.world import app_file, terraform

#: Terraform takes seconds to start; a run needs time to get anywhere.
MOMENT = some_time(8.0)
RESOURCES = 3
ROUNDS_KILLS = max(4, KILLS // 5)

pytestmark = pytest.mark.kill

STAGES = [
    {"name": "TERRAFORM_PLAN"},
    {"name": "WAIT", "with": {"duration": "1s"}},
    {"name": "TERRAFORM_APPLY"},
    {"name": "SCRIPT_RUN", "with": {"run": "true"}},
]
FAILING = [*STAGES[:3], {"name": "SCRIPT_RUN", "with": {"run": "exit 3"}}]


def configuration(state: Path, ledger: Path, value: int) -> str:
    """Resources that are replaced when `value` changes, each with an effect that can be counted."""
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
    """What the world looks like, from Terraform's state."""
    found = json.loads(state.read_text())["resources"]
    instances = [one for resource in found for one in resource["instances"]]
    assert not any(one.get("status") == "tainted" for one in instances)
    return [one["attributes"]["input"]["value"] for one in instances]


@pytest.mark.timeout(600 + ROUNDS_KILLS * 60)
async def test_what_terraform_applies_is_what_was_shown_whoever_is_killed(tmp_path: Path) -> None:
    print(f"PIPECD_KILL_SEED={SEED}")
    rng = random.Random(SEED)
    left, value, good = ROUNDS_KILLS, 0, 0
    state, ledger = tmp_path / "shop.tfstate", tmp_path / "ledger"
    ledger.touch()

    def files(stages: list[dict[str, object]]) -> dict[str, str | None]:
        text = app_file(pipeline={"stages": stages}, planner={"autoRollback": True})
        return {"app.pipecd.yaml": text, "main.tf": configuration(state, ledger, value)}

    async with machines(tmp_path) as m:
        app = await m.application("shop", files(STAGES))
        first = await m.ended(app, within=240)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        while left > 0:
            value += 1
            fails = value % 3 == 0
            before = len(ledger.read_text().split())
            changed = files(FAILING if fails else STAGES)
            commit = await m.push(f"Value {value}", {f"shop/{name}": text for name, text in changed.items()})
            used = await kill_until_over(m, app, commit, rng, left, moment=MOMENT)
            left -= used
            ended = await m.ended(app, commit, within=240)
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
            wanted = {value, good}
            # A Terraform that is killed between making a resource and its provisioner forgets the latter.
            assert set(effects) <= {f"{one}-{index}" for one in wanted for index in range(RESOURCES)}
            assert all(count <= 1 + used for count in effects.values()), effects

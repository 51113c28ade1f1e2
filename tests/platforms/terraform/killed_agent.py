"""An agent that plans and applies, to be killed by a test.

The state of the control plane after each call is stored in `memory` in that directory.
"""

import asyncio
import pickle
from pathlib import Path

from pipecd.model.stage import Again
from pipecd.platforms.terraform.config import PlanOptions
from pipecd.platforms.terraform.stages import apply, plan
from tests.platforms.terraform.shop import shop_runner
from tests.stages.stage_runner import StageRunner

PIPELINE = (("TERRAFORM_PLAN", plan, PlanOptions()), ("TERRAFORM_APPLY", apply, None))


def save_memory(folder: Path, runner: StageRunner) -> None:
    temporary = folder / "memory.new"
    temporary.write_bytes(pickle.dumps((runner.deployment, runner.stored)))
    temporary.replace(folder / "memory")


def load_memory(folder: Path, runner: StageRunner) -> None:
    if (folder / "memory").exists():
        runner.deployment, runner.stored = pickle.loads((folder / "memory").read_bytes())


def main(folder: Path) -> None:
    asyncio.run(_plan_and_apply(folder))


async def _plan_and_apply(folder: Path) -> None:
    async with shop_runner(folder, "") as runner:
        load_memory(folder, runner)
        ended = {stage.name for stage in runner.deployment.stages if stage.status.final}
        for name, function, options in PIPELINE:
            if name in ended:
                continue
            async with runner.calls(name, function, options) as call:
                while isinstance(await call(), Again):
                    save_memory(folder, runner)
            save_memory(folder, runner)

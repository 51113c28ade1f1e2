"""An agent that plans and applies, to be killed meanwhile: `python -m tests.platforms.terraform.killed DIR`.

What a control plane would have is in `DIR/memory`, as it was after each call.
"""

import asyncio
import pickle
import sys
from pathlib import Path

from pipecd.model.stage import Again
from pipecd.platforms.terraform.config import PlanOptions
from pipecd.platforms.terraform.stages import apply, plan
from tests.platforms.terraform.shop import shop
from tests.stages.play import Play

PIPELINE = (("TERRAFORM_PLAN", plan, PlanOptions()), ("TERRAFORM_APPLY", apply, None))


def remember(folder: Path, play: Play) -> None:
    fresh = folder / "memory.new"
    fresh.write_bytes(pickle.dumps((play.deployment, play.kept)))
    fresh.replace(folder / "memory")


def recall(folder: Path, play: Play) -> None:
    if (folder / "memory").exists():
        play.deployment, play.kept = pickle.loads((folder / "memory").read_bytes())


async def main(folder: Path) -> None:
    async with shop(folder, "") as play:
        recall(folder, play)
        ended = {stage.name for stage in play.deployment.stages if stage.status.final}
        for name, function, options in PIPELINE:
            if name in ended:
                continue
            async with play.calls(name, function, options) as call:
                while isinstance(await call(), Again):
                    remember(folder, play)
            remember(folder, play)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

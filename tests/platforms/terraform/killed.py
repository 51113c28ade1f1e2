"""An agent that applies a plan, to be killed meanwhile: `python -m tests.platforms.terraform.killed DIR`.

What a control plane would have is in `DIR/memory`, before and after each call.
"""

import asyncio
import pickle
import sys
from pathlib import Path

from pipecd.model.stage import Again
from pipecd.platforms.terraform.stages import apply
from tests.platforms.terraform.shop import shop
from tests.stages.play import Play


def remember(folder: Path, play: Play) -> None:
    fresh = folder / "memory.new"
    fresh.write_bytes(pickle.dumps((play.deployment, play.kept)))
    fresh.replace(folder / "memory")


def recall(folder: Path, play: Play) -> None:
    play.deployment, play.kept = pickle.loads((folder / "memory").read_bytes())


async def main(folder: Path) -> None:
    async with shop(folder, "") as play:
        recall(folder, play)
        async with play.calls("TERRAFORM_APPLY", apply) as call:
            while isinstance(await call(), Again):
                remember(folder, play)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

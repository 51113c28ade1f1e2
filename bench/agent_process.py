"""An agent of a benchmark that runs as a process of its own, so that its memory and CPU can be measured."""

import asyncio
import sys
from typing import Any

import yaml

from tests.world import World, agent_spec


async def start_agent(w: World, **more: Any) -> asyncio.subprocess.Process:
    """`more` are keys of its configuration."""
    key = w.folder / "key"
    key.write_text(w.key)
    document = agent_spec(w.plane.address, w.piped_id, key, {"shop": w.git.url("shop")}, **more)
    file = w.folder / "piped.yaml"
    file.write_text(yaml.safe_dump(document))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipecd", "piped", f"--config-file={file}", "--insecure"),
        *("--admin-port=0", f"--home-dir={w.folder / 'home'}", "--log-level=error"),
    )

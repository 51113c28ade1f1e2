"""Asks a platform what runs, as the agent's loops do."""

from pathlib import Path
from typing import Any

from pipecd.config.application import load
from pipecd.model.application import Application, ApplicationKind, GitPath
from pipecd.model.drift import Ignored
from pipecd.model.look import Look
from pipecd.model.stage import Source


async def look(platform: Any, provider: Any, folder: Path, *ignored: str) -> Look:
    """At the checkout `folder`."""
    file = "app.pipecd.yaml"
    config = load((folder / file).read_text(), file, lambda _: platform)
    source = Source(commit="c" * 40, root=folder, directory=folder, config=config)

    async def head() -> Source:
        return source

    application = Application(
        id="app-1",
        name="shop",
        piped_id="piped-1",
        project_id="shop",
        kind=ApplicationKind.ECS,
        git_path=GitPath(repo_id="shop", path="."),
    )
    return Look(
        application=application,
        provider=provider,
        desired=await platform.desired(source),
        ignored=Ignored(ignored),
        clean=lambda text: text.replace("hunter2", "***"),
        head=head,
    )

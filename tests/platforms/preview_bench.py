"""Asks a platform for a preview, with two folders in the place of two checkouts."""

from pathlib import Path
from typing import Any

from pipecd.model.application import Application, ApplicationKind, GitPath
from pipecd.model.preview import Preview, PreviewWork
from pipecd.model.stage import Source
from tests.platforms.aws.bench import source


async def previewed(platform: Any, head: Path, running: Path | None) -> Preview:
    async def checkout() -> Source | None:
        return source(platform, running) if running else None

    work = PreviewWork(
        application=Application(
            id="id",
            name="shop",
            piped_id="piped",
            project_id="project",
            kind=ApplicationKind.ECS,
            git_path=GitPath(repo_id="shop", path="shop"),
        ),
        provider=None,
        head=source(platform, head),
        running=checkout,
    )
    made: Preview = await platform.plan_preview(work)
    return made

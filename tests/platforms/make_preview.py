"""Makes a plan preview from two folders instead of two checkouts."""

from pathlib import Path
from typing import Any

from pipecd.model.application import Application, GitPath
from pipecd.model.preview import Preview, PreviewRequest
from pipecd.model.provider import FindProviders
from pipecd.model.stage import Source
from tests.platforms.aws.stage_runner import load_source
from tests.stages.stage_runner import no_providers


async def make_preview(
    platform: Any,
    head: Path,
    running: Path | None,
    *,
    provider: Any = None,
    providers: FindProviders = no_providers,
) -> Preview:
    async def checkout() -> Source | None:
        return load_source(platform, running) if running else None

    work = PreviewRequest(
        application=Application(
            id="id",
            name="shop",
            piped_id="piped",
            project_id="project",
            kind="ECS",
            git_path=GitPath(repo_id="shop", path="shop"),
        ),
        provider=provider,
        providers=providers,
        head=load_source(platform, head),
        running=checkout,
    )
    preview: Preview = await platform.plan_preview(work)
    return preview

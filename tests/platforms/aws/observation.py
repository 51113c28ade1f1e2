"""Builds requests for live state and drift, as the agent's loops do."""

from pathlib import Path
from typing import Any

from pipecd.config.application import load
from pipecd.model.application import Application, GitPath
from pipecd.model.drift import IgnoredFields
from pipecd.model.observation import ObservationRequest
from pipecd.model.stage import Source
from pipecd.platforms.stage_tables import application_types
from tests.stages.stage_runner import no_providers


async def observation_request(
    platform: Any, provider: Any, folder: Path, *ignored: str
) -> ObservationRequest:
    """A request at the checkout `folder`."""
    file = "app.pipecd.yaml"
    config = load((folder / file).read_text(), file, lambda _: application_types(platform))
    source = Source(commit="c" * 40, root=folder, directory=folder, config=config)

    async def head() -> Source:
        return source

    application = Application(
        id="app-1",
        name="shop",
        piped_id="piped-1",
        project_id="shop",
        kind="ECS",
        git_path=GitPath(repo_id="shop", path="."),
    )
    return ObservationRequest(
        application=application,
        provider=provider,
        providers=no_providers,
        desired=await platform.load_desired_state(source),
        ignored=IgnoredFields(ignored),
        redact=lambda text: text.replace("hunter2", "***"),
        checkout_head=head,
    )

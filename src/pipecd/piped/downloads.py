"""What the agent's file says about downloads, as platforms need it. Called by `run`."""

from pathlib import Path

from pipecd.config.piped import PipedSpec
from pipecd.model.downloads import ChartRegistry, ChartRepository, Downloads, OpenRepository
from pipecd.remotes import http_origin


def configured_downloads(spec: PipedSpec, cache: Path, open_repository: OpenRepository) -> Downloads:
    """`cache` is a directory that is created when it is needed, and may be deleted at any time."""
    remotes = [repository.remote for repository in spec.repositories]
    remotes += [repository.git_remote or repository.address for repository in spec.chart_repositories]
    return Downloads(
        chart_repositories=[
            ChartRepository(
                name=repository.name,
                address=repository.address,
                username=repository.username,
                password=repository.password,
                insecure=repository.insecure,
            )
            for repository in spec.chart_repositories
            if repository.type == "HTTP"
        ],
        chart_registries=[
            ChartRegistry(address=registry.address, username=registry.username, password=registry.password)
            for registry in spec.chart_registries
        ],
        origins={origin for remote in remotes if (origin := http_origin(remote))},
        cache=cache,
        open_repository=open_repository,
    )

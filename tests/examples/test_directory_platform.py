"""A platform of another package: installed, deployed, observed and shown without a change in this package."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.piped.settings import LiveStateSettings
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.live_state_pb2 import ApplicationLiveStateSnapshot
from tests.eventually import eventually
from tests.platforms.packages import installed_package
from tests.world import SETTINGS, World, world

PACKAGE = Path(__file__).parents[2] / "examples" / "directory-platform"


@pytest.fixture(autouse=True)
def package(tmp_path: Path) -> Iterator[None]:
    """The package, installed in a directory on the import path."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    with installed_package(
        tmp_path,
        project["name"],
        platforms=project["entry-points"]["pipecd.platforms"],
        requires=project["dependencies"],
        modules=PACKAGE / "pipecd_directory",
    ):
        yield


def app_file(**spec: Any) -> str:
    document = {"apiVersion": "pipecd.dev/v1beta1", "kind": "DirectoryApp", "spec": {"name": "web", **spec}}
    return yaml.safe_dump(document)


async def live_files(w: World, app: str) -> list[tuple[str, str, str]]:
    response = await w.console.call("SeeLiveState", application_id=app)
    snapshot: ApplicationLiveStateSnapshot = response.snapshot
    resources = snapshot.application_live_state.resources
    return [(file.name, file.resource_metadata["API Version"], file.plugin_name) for file in resources]


async def test_it_is_found_deployed_observed_and_rolled_back(tmp_path: Path) -> None:
    # Not polled while idle: a change is seen only because the platform reports it.
    settings = replace(SETTINGS, live_state=LiveStateSettings(interval=3600.0))
    root = tmp_path / "directories"
    providers = [{"name": "local", "type": "DIRECTORY", "config": {"root": str(root)}}]
    async with world(tmp_path) as w, w.agent(platformProviders=providers, settings=settings):
        await eventually(w.has_repositories)
        piped = (await w.console.call("GetPiped", piped_id=w.piped_id)).piped
        assert ("directory", ["local"]) in [(p.name, list(p.deploy_targets)) for p in piped.plugins]

        await w.push("Add", {"web/app.pipecd.yaml": app_file(), "web/files/a": "1", "web/files/b/c": "2"})

        async def suggested_kinds() -> list[str]:
            response = await w.console.call("ListSuggestions")
            assert response.suggestions
            return [suggestion.kind for suggestion in response.suggestions]

        assert await eventually(suggested_kinds) == ["DIRECTORY"]
        assert not (await w.console.call("ListUnregisteredApplications")).applications

        app = await w.register_plugin("web", plugin="directory", provider="local")
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.DEPLOYMENT_SUCCESS, first.status_reason
        assert list(first.deploy_targets_by_plugin["directory"].deploy_targets) == ["local"]
        assert [stage.name for stage in first.stages if stage.visible] == ["DIRECTORY_SYNC"]
        assert [version.version for version in first.versions] == ["2 files"]
        assert (root / app / "b" / "c").read_text() == "2"

        async def observed() -> bool:
            return await live_files(w, app) == [("a", "v1", "directory"), ("b/c", "v1", "directory")]

        await eventually(observed)
        (root / app / "z").write_text("by hand")

        async def change_observed() -> bool:
            return ("z", "v1", "directory") in await live_files(w, app)

        await eventually(change_observed)

        for kinds, expected in ((["DIRECTORY"], [app]), (["KUBERNETES"], []), ([], [app])):
            response = await w.console.call("PageApplications", kinds=kinds)
            assert [application.id for application in response.applications] == expected

        stages = [{"name": "DIRECTORY_SYNC"}, {"name": "SCRIPT_RUN", "with": {"run": "false"}}]
        commit = await w.push(
            "Break", {"web/app.pipecd.yaml": app_file(pipeline={"stages": stages}), "web/files/a": "9"}
        )
        second = await w.wait_for_deployment(app, commit)
        assert second.status == DeploymentStatus.DEPLOYMENT_FAILURE
        assert (root / app / "a").read_text() == "1"
        assert not (root / app / "z").exists()

"""Which applications a commit renders again: those that are made of what it changed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.application import Application, GitPath
from pipecd.piped.observe.desired_state import ObservationRequests
from tests.model.samples import deployment
from tests.piped.test_desired_state import open_requests
from tests.platforms.altered import alter_platform
from tests.repo import Clone, local_clone
from tests.stages.stage_runner import application

CONFIG = "{{apiVersion: pipecd.dev/v1beta1, kind: KubernetesApp, spec: {{name: {name}, input: {input}}}}}\n"
OVERLAY = CONFIG.format(name="overlay", input="{}")
CHART = CONFIG.format(
    name="chart", input="{helmChart: {path: ../charts/web}, helmOptions: {valueFiles: [../values/web.yaml]}}"
)
FILES: dict[str, str | None] = {
    "overlay/app.pipecd.yaml": OVERLAY,
    "overlay/kustomization.yaml": "resources: [../base/nested]\npatches: [{path: patch.yaml}]\n",
    "overlay/patch.yaml": "{}\n",
    "base/nested/kustomization.yaml": "resources: [a.yaml]\n",
    "base/nested/a.yaml": "{}\n",
    "chart/app.pipecd.yaml": CHART,
    "charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n"
    "  - {name: common, version: 1.0.0, repository: 'file://../../libraries/common'}\n",
    "libraries/common/Chart.yaml": "{apiVersion: v2, name: common, version: 1.0.0}\n",
    "values/web.yaml": "a: b\n",
    "plain/app.pipecd.yaml": CONFIG.format(name="plain", input="{}"),
    "plain/a.yaml": "{}\n",
}


class Rendered:
    """Applications in a repository. `names` are those that were rendered."""

    def __init__(self, requests: ObservationRequests, clone: Clone) -> None:
        self._requests, self._clone = requests, clone
        self.names: list[str] = []

    async def load(self, source: Any) -> str:
        self.names.append(source.directory.name)
        return "rendered"

    async def push(self, *changed: str) -> list[str]:
        """The applications that are rendered after a push of these files."""
        files: dict[str, str | None] = {
            name: f"{FILES.get(name) or ''}# {len(self.names)}\n" for name in changed
        }
        self._clone.commit_and_push("Change", files or FILES)
        self.names.clear()
        for name in ("overlay", "chart", "plain"):
            async with self._requests.build(_application(name), max_head_age=0.0) as observation:
                assert observation
                await observation.request()
        return self.names


def _application(name: str) -> Application:
    path = GitPath(repo_id="r", path=name)
    return replace(application(deployment()), id=name, name=name, kind="KUBERNETES", git_path=path)


@pytest.fixture
async def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rendered]:
    clone = local_clone(tmp_path, "r")
    async with open_requests(tmp_path, clone) as requests:
        result = Rendered(requests, clone)
        alter_platform(monkeypatch, "KUBERNETES", load_desired_state=result.load)
        yield result


async def test_a_commit_renders_what_is_made_of_it(rendered: Rendered) -> None:
    assert await rendered.push() == ["overlay", "chart", "plain"]
    cases = {
        "README.md": [],
        "plain/a.yaml": ["plain"],
        "overlay/patch.yaml": ["overlay"],
        "base/nested/a.yaml": ["overlay"],
        "charts/web/Chart.yaml": ["chart"],
        "libraries/common/Chart.yaml": ["chart"],
        "values/web.yaml": ["chart"],
        "charts/other.txt": [],
    }
    for changed, expected in cases.items():
        assert await rendered.push(changed) == expected, changed

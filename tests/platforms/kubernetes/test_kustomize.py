"""Kustomize overlays: what they may read, what they are made of, and what they leave behind."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import ConfigError, UserError
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.downloads import Downloads
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes import platform
from pipecd.quickstart.git_server import GitServer
from tests.platforms.kubernetes.applications import write_application
from tests.platforms.kubernetes.chart_server import ChartServer
from tests.platforms.kubernetes.helm import helm_directory
from tests.repo import Clone

needs_kustomize = pytest.mark.skipif(
    not (shutil.which("kustomize") or shutil.which("kubectl")), reason="needs kustomize or kubectl"
)
SETTINGS = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}}\n"
NO_RESTRICTION = {"load-restrictor": "LoadRestrictionsNone"}


@pytest.fixture
def overlay(tmp_path: Path) -> Any:
    """Writes an application below `app` of a checkout."""

    def write(options: dict[str, str] | None = None, **files: str) -> Source:
        return write_application(tmp_path / "checkout", {"kustomizeOptions": options or {}}, **files)

    return write


async def rendered(source: Source) -> list[str]:
    return [str(manifest) for manifest in (await platform.load_desired_state(source)).manifests]


async def refusal(source: Source) -> str:
    with pytest.raises(UserError) as error:
        await rendered(source)
    return str(error.value)


OVERLAY = {
    "app/kustomization.yaml": (
        "resources: [../base]\ncomponents: [../extra]\npatches: [{path: patch.yaml}]\n"
        "configMapGenerator: [{name: generated, files: [key=../app/file.txt], options:"
        " {disableNameSuffixHash: true}}]\n"
    ),
    "app/patch.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: patched}}\n",
    "app/file.txt": "text",
    "base/kustomization.yaml": "resources: [a.yaml, nested]\n",
    "base/a.yaml": SETTINGS % "a",
    "base/nested/Kustomization": "resources: [b.yaml]\n",
    "base/nested/b.yaml": SETTINGS % "b",
    "extra/kustomization.yml": (
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: '-1'\n"
    ),
    "unrelated/a.yaml": SETTINGS % "c",
}


@needs_kustomize
async def test_what_an_overlay_is_made_of_is_followed(overlay: Any) -> None:
    source = overlay(**OVERLAY)
    assert await rendered(source) == ["ConfigMap a-1", "ConfigMap b-1", "ConfigMap generated-1"]
    paths = platform.reads(source)
    assert paths is not None
    assert {str(path.relative_to(source.root)) for path in paths} == {
        "app",
        "app/file.txt",
        "app/patch.yaml",
        "base",
        "base/a.yaml",
        "base/nested",
        "base/nested/b.yaml",
        "extra",
    }
    assert not platform.writes_files(source.config)


@pytest.mark.parametrize("name", ["../../outside", "../../../../../etc", "link"])
async def test_a_base_outside_the_repository_is_refused(overlay: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kustomization.yaml").write_text("resources: []\n")
    source = overlay(**{"app/kustomization.yaml": f"resources: [{name}]\n"})
    (source.directory / "link").symlink_to(tmp_path / "outside")
    assert await refusal(source) == (
        f"app/kustomization.yaml: {name!r} is outside the repository; use a file inside it"
    )


UNRESTRICTED = {
    "configMapGenerator": "[{name: a, files: [key=%s]}]",
    "secretGenerator": "[{name: a, envs: [%s]}]",
    "resources": "[%s]",
    "patches": "[{path: %s, target: {kind: ConfigMap}}]",
    "patchesStrategicMerge": "[%s]",
    "replacements": "[{path: %s}]",
    "openapi": "{path: %s}",
    "crds": "[%s]",
    "configurations": "[%s]",
}


@pytest.mark.parametrize("field", UNRESTRICTED)
async def test_without_restrictions_files_are_still_those_of_the_repository(
    overlay: Any, tmp_path: Path, field: str
) -> None:
    (tmp_path / "secret").write_text("a=b")
    source = overlay(NO_RESTRICTION, **{"app/kustomization.yaml": "resources: []\n"})
    (source.directory / "link").symlink_to(tmp_path / "secret")
    for path in ("../../secret", str(tmp_path / "secret"), "link"):
        (source.directory / "kustomization.yaml").write_text(f"{field}: {UNRESTRICTED[field] % path}\n")
        assert "is outside the repository; use a file inside it" in await refusal(source)


@needs_kustomize
async def test_without_restrictions_a_file_of_another_directory_is_read(overlay: Any) -> None:
    generator = (
        "configMapGenerator: [{name: a, files: [../other/file], options: {disableNameSuffixHash: true}}]\n"
    )
    files = {"app/kustomization.yaml": generator, "other/file": "text"}
    assert await rendered(overlay(NO_RESTRICTION, **files)) == ["ConfigMap a"]
    assert "is not in or below" in await refusal(overlay(**files))


@pytest.mark.parametrize("options", [NO_RESTRICTION, {"enable-helm": ""}])
@pytest.mark.parametrize("field", ["generators", "transformers", "validators"])
async def test_what_reads_unknown_files_cannot_be_combined_with_options_that_let_it(
    overlay: Any, options: dict[str, str], field: str
) -> None:
    source = overlay(options, **{"app/kustomization.yaml": f"{field}: [plugin.yaml]\n"})
    assert f"{field} cannot be combined with the option" in await refusal(source)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file:///tmp/mirrors/x//a?ref=main", "is not an https or ssh URL"),
        ("git::file:///tmp/mirrors/x", "is not an https or ssh URL"),
        ("http://169.254.169.254/latest", "is an address of the agent's machine"),
        ("https://[::1]/x.git//base", "is an address of the agent's machine"),
    ],
)
async def test_some_remote_bases_are_refused(overlay: Any, name: str, message: str) -> None:
    source = overlay(**{"app/kustomization.yaml": f"resources: ['{name}']\n"})
    assert message in await refusal(source)


@pytest.mark.parametrize("flag", ["enable-exec", "profile-output", "kubeconfig", "env"])
def test_only_flags_that_change_the_rendering_are_accepted(overlay: Any, flag: str) -> None:
    with pytest.raises(ConfigError, match=f"{flag} is not"):
        overlay({flag: "x"})


@needs_kustomize
async def test_a_remote_base_is_read_with_the_agents_credentials(overlay: Any, tmp_path: Path) -> None:
    with GitServer(tmp_path / "remote", users={"agent": "git-secret"}) as git:
        clone = Clone(tmp_path / "clone", str(git.create("bases")))
        files: dict[str, str | None] = {
            "web/kustomization.yaml": "resources: [a.yaml]\n",
            "web/a.yaml": SETTINGS % "a",
        }
        commit = clone.commit_and_push("Add", files)
        url, credentials = git.url("bases"), Credentials(username="agent", password="git-secret")
        async with Mirrors(tmp_path / "home", credentials, User(), remotes=[url]) as mirrors:
            for ref in ("main", commit):
                source = overlay(**{"app/kustomization.yaml": f"resources: ['{url}//web?ref={ref}']\n"})
                downloads = Downloads(origins=[git.address])
                source = replace(source, download_env=mirrors.download_env, downloads=downloads)
                assert await rendered(source) == ["ConfigMap a"]
                # A branch may be another commit tomorrow.
                assert (platform.reads(source) is None) == (ref == "main")


@pytest.fixture
def server(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChartServer]:
    monkeypatch.setenv("PATH", str(helm_directory(tmp_path_factory)), prepend=os.pathsep)
    with ChartServer(tmp_path / "server", user="") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca_file))
        server.add("web", "1.0.0", {"settings.yaml": SETTINGS % "{{ .Chart.Version }}"})
        yield server


@needs_kustomize
async def test_a_chart_in_an_overlay_leaves_nothing_behind(overlay: Any, server: ChartServer) -> None:
    charts = f"helmCharts: [{{name: web, version: 1.0.0, repo: '{server.url}'}}]\n"
    source = overlay({"enable-helm": ""}, **{"app/kustomization.yaml": charts})
    source = replace(source, downloads=Downloads(origins=[f"https://{server.host}"]))
    assert platform.writes_files(source.config)
    before = sorted(source.root.rglob("*"))
    assert await rendered(source) == ["ConfigMap 1.0.0"]
    assert sorted(source.root.rglob("*")) == before
    assert platform.reads(source) is not None


@pytest.mark.parametrize(
    "chart",
    [
        "{name: web, valuesFile: ../../secret}",
        "{name: web, additionalValuesFiles: [../../secret]}",
        "{name: ../../../outside}",
    ],
)
async def test_a_chart_in_an_overlay_cannot_read_other_files(
    overlay: Any, tmp_path: Path, chart: str
) -> None:
    (tmp_path / "secret").write_text("a: b")
    source = overlay({"enable-helm": ""}, **{"app/kustomization.yaml": f"helmCharts: [{chart}]\n"})
    assert "is outside" in await refusal(source)

"""Content of a repository cannot reach outside its application's checkout."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipecd.errors import ConfigError, PipecdError, Refused, UserError
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import GitPath
from pipecd.model.deployment import Deployment
from pipecd.model.progress import Finish
from pipecd.model.stage import Source
from pipecd.model.status import DeploymentStatus
from pipecd.piped.deploy.planner import Planner
from pipecd.piped.source.checkout import Sources, decode_config
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.platforms.registry import load_platform
from pipecd.secrets import Redactor
from tests.analysis.test_providers import providers as analysis_providers
from tests.model.samples import deployment
from tests.repo import Clone, local_clone
from tests.stages.stage_runner import application
from tests.world import app_file, pipeline


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return local_clone(tmp_path)


@pytest.fixture
async def sources(tmp_path: Path, clone: Clone) -> AsyncIterator[Sources]:
    async with Mirrors(tmp_path / "home", Credentials(), User()) as mirrors:
        repositories = {"shop": Repository(id="shop", remote=clone.remote, branch="main")}
        yield Sources(mirrors, repositories, Renderer(None, Redactor().add))


def at(path: str, filename: str = "app.pipecd.yaml", repo_id: str = "shop") -> GitPath:
    return GitPath(repo_id=repo_id, path=path, config_filename=filename)


async def test_a_checkout_contains_the_commit_and_is_removed_afterwards(
    sources: Sources, clone: Clone
) -> None:
    old = clone.commit_and_push("Old", {"shop/app.pipecd.yaml": app_file(), "shop/value": "1"})
    clone.commit_and_push("New", {"shop/value": "2"})
    async with sources.checkout(at("shop"), old) as source:
        assert (source.directory / "value").read_text() == "1"
        assert source.directory.parent == source.root.resolve()
        (source.directory / "value").write_text("mine")
    assert not source.root.exists()
    async with sources.checkout(at("shop"), old) as again:
        assert (again.directory / "value").read_text() == "1"


OUTSIDE = [at("../shop"), at("/etc"), at("shop/../.."), at("shop", "../../passwd"), at("shop", "/etc/passwd")]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: f"{path.path} {path.config_filename}")
async def test_a_path_outside_the_repository_is_rejected(
    sources: Sources, clone: Clone, path: GitPath
) -> None:
    commit = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": app_file()})
    with pytest.raises(ConfigError, match="is outside the repository"):
        await sources.load_config(path, commit)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "../../../.."])
async def test_a_link_to_outside_the_checkout_is_rejected(
    sources: Sources, clone: Clone, target: str
) -> None:
    clone.write({"shop/app.pipecd.yaml": app_file()})
    (clone.path / "shop" / "link").symlink_to(target)
    commit = clone.commit_and_push("Link")
    with pytest.raises(Refused, match="points outside the repository"):
        async with sources.checkout(at("shop"), commit):
            pass


async def test_a_directory_that_links_to_outside_the_checkout_is_rejected(
    sources: Sources, clone: Clone, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "app.pipecd.yaml").write_text(app_file())
    (clone.path / "shop").symlink_to(tmp_path / "outside")
    commit = clone.commit_and_push("Link")
    with pytest.raises(PipecdError):
        async with sources.checkout(at("shop"), commit):
            pass


async def test_a_link_inside_the_repository_is_allowed(sources: Sources, clone: Clone) -> None:
    clone.write({"shop/app.pipecd.yaml": app_file(), "common/value": "1"})
    (clone.path / "shop" / "value").symlink_to("../common/value")
    commit = clone.commit_and_push("Link")
    async with sources.checkout(at("shop"), commit) as source:
        assert (source.directory / "value").read_text() == "1"


async def test_an_unconfigured_repository_is_reported_with_a_remedy(sources: Sources) -> None:
    with pytest.raises(ConfigError, match=r"repository other is not in .*; add it to spec\.repositories"):
        await sources.load_config(at("shop", repo_id="other"), "0" * 40)


async def test_a_commit_missing_in_the_mirror_is_fetched(sources: Sources, clone: Clone) -> None:
    first = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": app_file("one")})
    assert (await sources.load_config(at("shop"), first)).spec.name == "one"
    second = clone.commit_and_push("Change", {"shop/app.pipecd.yaml": app_file("two")})
    assert (await sources.load_config(at("shop"), second)).spec.name == "two"


async def test_a_missing_commit_is_reported_with_a_remedy(sources: Sources, clone: Clone) -> None:
    clone.commit_and_push("Add", {"shop/app.pipecd.yaml": app_file()})
    with pytest.raises(ConfigError, match="no longer has commit 0000000; the branch was rewritten"):
        await sources.load_config(at("shop"), "0" * 40)


async def test_a_missing_file_is_named_in_the_error(sources: Sources, clone: Clone) -> None:
    commit = clone.commit_and_push("Add", {"README.md": "x"})
    with pytest.raises(ConfigError, match=r"shop/app\.pipecd\.yaml: there is no such file"):
        await sources.load_config(at("shop"), commit)


async def read(sources: Sources, commit: str, *, path: str = "shop", **platform: Any) -> tuple[Source, str]:
    """The source while it was read, and the content of the file `value`."""
    kind = replace(load_platform("TERRAFORM"), **platform)
    async with sources.read(at(path), commit, kind) as source:
        return source, (source.directory / "value").read_text()


ATTACHED = {"sources": {"x": "x"}, "targets": ["value"]}


async def test_readers_of_a_commit_share_a_checkout(sources: Sources, clone: Clone) -> None:
    files: dict[str, str | None] = {"a/app.pipecd.yaml": app_file("a"), "a/value": "1"}
    commit = clone.commit_and_push("Add", {**files, "b/app.pipecd.yaml": app_file("b"), "b/value": "2"})
    first, second = await read(sources, commit, path="a"), await read(sources, commit, path="b")
    assert (first[1], second[1]) == ("1", "2") and first[0].root == second[0].root
    assert first[0].config.spec.name == "a"


KUSTOMIZATION = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{}]\n"


async def test_a_checkout_contains_only_what_an_application_is_made_of(
    sources: Sources, clone: Clone
) -> None:
    """However large the repository is. A base becomes part of it when an overlay is read once."""
    file = app_file().replace("TerraformApp", "KubernetesApp")
    plain = {"apps/plain/app.pipecd.yaml": file, "apps/plain/x.yaml": "plain"}
    overlay = {
        "apps/overlay/app.pipecd.yaml": file,
        "apps/overlay/kustomization.yaml": KUSTOMIZATION.format("../../base"),
        "base/kustomization.yaml": KUSTOMIZATION.format("y.yaml"),
        "base/y.yaml": "base",
    }
    clone.commit_and_push("Add", {**plain, **overlay, "apps/other/x.yaml": "other", "z": ""})
    kubernetes = load_platform("KUBERNETES")

    async def written(path: str) -> set[str]:
        """Directories and files in the root and below apps/, of a new commit."""
        commit = clone.commit_and_push("Change", {"z": f"{clone.git('rev-parse', 'HEAD')}"})
        async with sources.read(at(path), commit, kubernetes) as source:
            assert source.directory == source.root / path
            found = [*source.root.iterdir(), *(source.root / "apps").iterdir()]
            return {str(place.relative_to(source.root)) for place in found} - {"apps"}

    everything = {"apps/plain", "apps/overlay", "apps/other", "base", "z"}
    assert await written("apps/plain") == {"apps/plain"}
    assert await written("apps/overlay") == everything, "what it is made of is not known yet"
    assert await written("apps/overlay") == {"apps/overlay", "base"}
    clone.write({"apps/overlay/kustomization.yaml": KUSTOMIZATION.format("../other")})
    assert await written("apps/overlay") == everything, "it is made of something else"
    assert await written("apps/overlay") == {"apps/overlay", "apps/other"}
    (clone.path / "apps/plain/link.yaml").symlink_to("../other/x.yaml")
    assert await written("apps/plain") == everything
    clone.write({"apps/overlay/kustomization.yaml": KUSTOMIZATION.format("https://example.com/x?ref=main")})
    assert await written("apps/overlay") == everything, "a branch of another repository may change"


async def test_errors_of_a_checkout_are_those_of_the_whole_commit(sources: Sources, clone: Clone) -> None:
    """A directory may be a link to one that is not part of the checkout; and it may be missing."""
    file = app_file().replace("TerraformApp", "KubernetesApp")
    clone.write({"apps/a/app.pipecd.yaml": file, "apps/a/x.yaml": "x"})
    (clone.path / "linked").symlink_to("apps/a")
    commit = clone.commit_and_push("Add", {"broken/app.pipecd.yaml": "kind: KubernetesApp"})
    kubernetes = load_platform("KUBERNETES")
    async with sources.read(at("linked"), commit, kubernetes) as source:
        assert source.directory == (source.root / "apps/a").resolve()
    with pytest.raises(ConfigError, match="there is no such file in the commit"):
        async with sources.read(at("missing"), commit, kubernetes):
            pass
    with pytest.raises(ConfigError, match="broken/app"):
        async with sources.read(at("broken"), commit, kubernetes):
            pass


async def test_secrets_and_attachments_are_rendered_into_a_copy(sources: Sources, clone: Clone) -> None:
    """Of the application's directory, or of the repository if the platform reads other files."""
    template = "{{ .attachment.x }}"
    files: dict[str, str | None] = {"shop/app.pipecd.yaml": app_file(attachment=ATTACHED), "other/y": "y"}
    commit = clone.commit_and_push("Add", {**files, "shop/x": "plain", "shop/value": template})
    source, value = await read(sources, commit)
    assert value == "plain" and not (source.root / "other").exists()
    async with sources.mirrors.shared_checkouts.open(clone.remote, commit) as shared:
        assert (shared.root / "shop/value").read_text() == template
    seen: list[bool] = []

    def others(source: Source) -> list[Path]:
        return [Path("../other/y")]

    for platform in (
        {"reads": others},
        {"reads": lambda source: None},
        {"writes_files": lambda config: True},
    ):
        kind = replace(load_platform("TERRAFORM"), **platform)
        async with sources.read(at("shop"), commit, kind) as source:
            seen.append((source.root / "other/y").exists() and (source.root / "shop/value").exists())
            assert (source.directory / "value").read_text() == "plain"
    assert seen == [True] * 3
    (clone.path / "shop/link").symlink_to("../other/y")
    commit = clone.commit_and_push("Link")
    kind = load_platform("TERRAFORM")
    async with sources.read(at("shop"), commit, kind) as source:
        assert (source.directory / "link").read_text() == "y"


@pytest.mark.parametrize(
    ("app_input", "writes"),
    [
        ({}, False),
        # Dependencies are downloaded into a copy of the chart.
        ({"helmChart": {"path": "chart"}}, False),
        ({"kustomizeOptions": {"load-restrictor": "LoadRestrictionsNone"}}, False),
        ({"kustomizeOptions": {"enable-helm": ""}}, True),
    ],
)
def test_charts_in_overlays_get_a_checkout_of_their_own(app_input: dict[str, Any], writes: bool) -> None:
    """Kustomize downloads them into it."""
    text = app_file(input=app_input).replace("TerraformApp", "KubernetesApp")
    config = decode_config(text.encode(), "app.pipecd.yaml")
    assert load_platform("KUBERNETES").writes_files(config) is writes


async def test_a_reader_is_refused_what_a_checkout_is_refused(sources: Sources, clone: Clone) -> None:
    commit = clone.commit_and_push("Add", {"shop/app.pipecd.yaml": app_file(), "shop/value": "1"})
    with pytest.raises(ConfigError, match="there is no such file in the commit"):
        await read(sources, commit, path="none")
    with pytest.raises(ConfigError, match="is outside the repository"):
        await read(sources, commit, path="../shop")
    with pytest.raises(ConfigError, match="no longer has commit"):
        await read(sources, "1" * 40)
    (clone.path / "shop/link").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="points outside the repository"):
        await read(sources, clone.commit_and_push("Link"))
    (clone.path / "shop/link").unlink()
    (clone.path / "shop/app.pipecd.yaml").unlink()
    (clone.path / "shop/app.pipecd.yaml").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"points|outside|no such file"):
        await read(sources, clone.commit_and_push("Linked file"))


async def test_an_applications_file_may_be_a_link_inside_the_repository(
    sources: Sources, clone: Clone
) -> None:
    clone.write({"shared.yaml": app_file("linked"), "shop/value": "1"})
    (clone.path / "shop/app.pipecd.yaml").symlink_to("../shared.yaml")
    source, _ = await read(sources, clone.commit_and_push("Link"))
    assert source.config.spec.name == "linked"


async def plan_head(sources: Sources, clone: Clone) -> Deployment | Finish | None:
    """The plan of an application without a deployment, by an agent without analysis providers."""

    async def nothing_deployed(_: str) -> None:
        return None

    reporter: Any = SimpleNamespace(get_last_successful=nothing_deployed)
    providers: Any = SimpleNamespace(config=lambda kind, name: None, of_kind=lambda kind: None)
    pending = replace(deployment(), chain_id="", kind="TERRAFORM", git_path=at("shop"))
    commit = replace(pending.trigger.commit, hash=clone.git("rev-parse", "HEAD"))
    pending = replace(pending, trigger=replace(pending.trigger, commit=commit))
    planner = Planner(sources, reporter, providers, analysis_providers(clone.path))
    return await planner.plan(pending, application(pending))


async def test_planning_fails_with_the_path_of_what_cannot_be_checked_out(
    sources: Sources, clone: Clone
) -> None:
    clone.commit_and_push("Add", {"shop/app.pipecd.yaml": app_file()})
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},modules/net")
    clone.git("commit", "--quiet", "--message", "A submodule")
    clone.push()
    ended = await plan_head(sources, clone)
    assert isinstance(ended, Finish) and ended.status is DeploymentStatus.FAILURE
    assert "the submodule modules/net has no URL" in ended.reason


async def test_planning_fails_for_a_stage_that_could_only_fail(sources: Sources, clone: Clone) -> None:
    """Not after a canary runs."""
    metric = {"provider": "prometheus", "query": "up", "interval": "1m", "expected": {"max": 1}}
    analysis = {"name": "ANALYSIS", "with": {"duration": "5m", "metrics": [metric]}}
    files = {"shop/app.pipecd.yaml": pipeline("deploy", analysis), "shop/main.tf": ""}
    clone.commit_and_push("Add", files)
    ended = await plan_head(sources, clone)
    assert isinstance(ended, Finish) and ended.status is DeploymentStatus.FAILURE
    assert ended.reason == (
        "The deployment could not be planned: shop/app.pipecd.yaml:14:"
        " spec.pipeline.stages[1].with.metrics[0].provider: this agent has no analysis provider prometheus;"
        " add it to spec.analysisProviders of the agent, or correct the name"
    )

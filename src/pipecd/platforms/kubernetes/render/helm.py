"""Helm charts, rendered by `helm template`: of the repository, of another one, or of a chart repository."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipecd.errors import ConfigError, Place
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import HelmChart, HelmOptions, Input
from pipecd.platforms.kubernetes.render import tools
from pipecd.platforms.kubernetes.render.capabilities import load_capabilities
from pipecd.platforms.kubernetes.render.chart import LocalChart, copy_chart, mentions, read_chart
from pipecd.platforms.kubernetes.render.files import inside, run, written
from pipecd.platforms.kubernetes.render.homes import helm_home
from pipecd.platforms.kubernetes.render.pull import is_pinned, pull_chart
from pipecd.platforms.kubernetes.render.tools import Tool
from pipecd.platforms.kubernetes.render.value_files import as_flag, download, is_url

_RELEASE = re.compile(r"(?=.{1,53}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_VALUE_FILES, _SET_FILES = "spec.input.helmOptions.valueFiles", "spec.input.helmOptions.setFiles"


@dataclass(frozen=True, kw_only=True)
class _Chart:
    """`path` is what Helm renders. `files` may mention the capabilities of the cluster."""

    path: Path
    files: Sequence[Path]


async def render(source: Source, app_input: Input) -> tuple[str, Sequence[str]]:
    """The output of `helm template`, hooks included, and notes for the user.

    Raises ConfigError, or Temporary if something cannot be downloaded.
    """
    chart, options = app_input.helm_chart, app_input.helm_options
    assert chart is not None
    helm = await tools.find("helm", app_input.helm_version)
    if helm is None:
        raise ConfigError("Helm is not installed", remedy="install helm on the agent's PATH")
    release = release_name(source, options)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipecd-chart-")))
        value_files = await _value_files(source, options, directory)
        opened = await stack.enter_async_context(_open_chart(source, chart, helm, directory))
        argv = [
            *(str(helm.path), "template", "--include-crds", "--skip-tests"),
            release,
            str(opened.path),
            *([f"--namespace={app_input.namespace}"] if app_input.namespace else []),
            *[f"--set={key}={value}" for key, value in options.set_values.items()],
            *[as_flag("--values", path) for path in value_files],
            *[f"--set-file={key}={_set_file(source, key, name)}" for key, name in options.set_files.items()],
            *await _capabilities(source, options, opened, value_files),
        ]
        environment = stack.enter_context(helm_home(source.downloads))
        text = await run(argv, source, environment, "helm template")
    return text, [helm.note] if helm.note else []


def reads(source: Source, app_input: Input) -> Collection[Path] | None:
    """The chart with its dependencies, and the value files; None if something is not in the repository."""
    chart, options = app_input.helm_chart, app_input.helm_options
    assert chart is not None
    if any(is_url(name) for name in options.value_files):
        return None
    paths = [written(source, name) for name in (*options.value_files, *options.set_files.values())]
    if chart.git_remote:
        return paths if _COMMIT.fullmatch(chart.ref) else None
    if chart.repository:
        return paths if is_pinned(chart) else None
    local = read_chart(source.root, _local_directory(source, chart), source.config.file)
    if local.floating:
        return None
    return [written(source, chart.path), *local.directories, *paths]


def release_name(source: Source, options: HelmOptions) -> str:
    """Raises ConfigError for a name that Helm does not accept, or would read as a flag."""
    name = options.release_name or source.config.spec.name
    if not _RELEASE.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name of a Helm release: up to 53 of a-z, 0-9, - and .",
            remedy="set helmOptions.releaseName",
            place=Place(source.config.file, key="spec.input.helmOptions.releaseName"),
        )
    return str(name)


@asynccontextmanager
async def _open_chart(source: Source, chart: HelmChart, helm: Tool, directory: Path) -> AsyncIterator[_Chart]:
    """The chart, as Helm may change it. `directory` is for copies."""
    if chart.repository:
        archive = await pull_chart(source, chart, helm.path, directory)
        yield _Chart(path=archive, files=[archive])
    elif chart.git_remote:
        async with _open_repository(source, chart) as root:
            yield await _local_chart(source, chart, helm, root, root / chart.path, directory)
    else:
        found = _local_directory(source, chart)
        yield await _local_chart(source, chart, helm, source.root, found, directory)


@asynccontextmanager
async def _open_repository(source: Source, chart: HelmChart) -> AsyncIterator[Path]:
    open_repository = source.downloads.open_repository
    place = Place(source.config.file, key="spec.input.helmChart.gitRemote")
    if open_repository is None:
        raise ConfigError("charts of other Git repositories cannot be read here", place=place)
    async with AsyncExitStack() as stack:
        try:
            root = await stack.enter_async_context(
                open_repository(chart.git_remote, chart.ref, _path_in_repository(source, chart))
            )
        except ConfigError as error:
            raise ConfigError(error.what, remedy=error.remedy, place=error.place or place) from error
        yield root.resolve()


def _path_in_repository(source: Source, chart: HelmChart) -> str:
    path = os.path.normpath(chart.path or ".")
    if Path(path).is_absolute() or Path(path).parts[0] == "..":
        raise ConfigError(
            f"{chart.path!r} is outside the repository",
            remedy="write a path relative to the root of gitRemote",
            place=Place(source.config.file, key="spec.input.helmChart.path"),
        )
    return "" if path == "." else path


def _local_directory(source: Source, chart: HelmChart) -> Path:
    return inside(source, chart.path, "spec.input.helmChart.path")


async def _local_chart(
    source: Source, chart: HelmChart, helm: Tool, root: Path, directory: Path, copies: Path
) -> _Chart:
    """The chart in `directory` of the checkout `root`; a copy of it if Helm adds dependencies."""
    root, directory = root.resolve(), Path(os.path.realpath(directory))
    if not directory.is_relative_to(root) or not (directory / "Chart.yaml").is_file():
        raise ConfigError(
            f"{chart.path or 'the root'} contains no Chart.yaml",
            remedy="correct helmChart.path",
            place=Place(source.config.file, key="spec.input.helmChart"),
        )
    local = await asyncio.to_thread(read_chart, root, directory, source.config.file)
    if not local.writes:
        return _Chart(path=directory, files=local.directories)
    copy = await asyncio.to_thread(copy_chart, local, root, copies / "repository")
    await _update_dependencies(source, local, helm, copy)
    return _Chart(path=copy, files=[copy])


async def _update_dependencies(source: Source, chart: LocalChart, helm: Tool, copy: Path) -> None:
    """Helm downloads the dependencies into `charts/` of the copy."""
    repositories = [
        repository
        for repository in source.downloads.chart_repositories
        if {address.rstrip("/") for address in chart.repositories}
        & {repository.address.rstrip("/"), f"@{repository.name}", f"alias:{repository.name}"}
    ]
    # Helm reads the indexes of all repositories that it has.
    with helm_home(replace(source.downloads, chart_repositories=repositories)) as environment:
        argv: list[str | Path] = [helm.path, "dependency", "update", str(copy)]
        await run(argv, source, environment, "helm dependency update", downloads=True)


async def _value_files(source: Source, options: HelmOptions, directory: Path) -> Sequence[Path]:
    paths = []
    for number, name in enumerate(options.value_files):
        if is_url(name):
            path = directory / f"values-{number}.yaml"
            try:
                await download(name, path, source.downloads.origins)
            except ConfigError as error:
                place = Place(source.config.file, key=f"{_VALUE_FILES}[{number}]")
                raise ConfigError(error.what, remedy=error.remedy, place=place) from error
        else:
            path = _file(source, name, _VALUE_FILES)
        paths.append(path)
    return paths


def _set_file(source: Source, key: str, name: str) -> str:
    """The path for `--set-file`, in which Helm reads commas and braces as more values."""
    # Not the absolute path, which may contain anything.
    path = os.path.relpath(_file(source, name, _SET_FILES), source.directory.resolve())
    if re.search(r"[,={}]", key) or re.search(r"[,{}\\]", path):
        raise ConfigError(
            f"{key!r}: {name!r} contains a comma, brace or backslash, which Helm would read as more values",
            remedy="rename the file or the key",
            place=Place(source.config.file, key=_SET_FILES),
        )
    return path


def _file(source: Source, name: str, key: str) -> Path:
    path = inside(source, name, key)
    if not path.is_file():
        raise ConfigError(
            f"there is no file {source.relative(path)}",
            remedy="create it, or correct its name",
            place=Place(source.config.file, key=key),
        )
    return path


async def _capabilities(
    source: Source, options: HelmOptions, chart: _Chart, value_files: Sequence[Path]
) -> list[str]:
    """Flags. The cluster is asked only if the chart may depend on it, so that it need not be there."""
    kube_version, api_versions = options.kube_version, options.api_versions
    if not (kube_version and api_versions):
        depends = await asyncio.to_thread(
            lambda: (
                mentions([*chart.files, *value_files], b"Capabilities")
                or mentions(_metadata_files(chart), b"kubeVersion")
            )
        )
        if depends:
            found = await load_capabilities(source.provider)
            kube_version = kube_version or found.kube_version
            api_versions = api_versions or found.api_versions
    return [
        *(f"--api-versions={version}" for version in api_versions),
        *([f"--kube-version={kube_version}"] if kube_version else []),
    ]


def _metadata_files(chart: _Chart) -> list[Path]:
    """Charts that do not install in every version say so in Chart.yaml."""
    files = [path if path.is_file() else path / "Chart.yaml" for path in chart.files]
    return [path for path in files if path.is_file()]

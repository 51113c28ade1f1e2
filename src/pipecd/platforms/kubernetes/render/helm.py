"""Helm charts of the repository, rendered by `helm template`."""

import re
import tempfile
from collections.abc import Collection
from pathlib import Path

from pipecd.errors import ConfigError, Place
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import HelmChart, HelmOptions, Input
from pipecd.platforms.kubernetes.render import tools
from pipecd.platforms.kubernetes.render.files import inside, run

_RELEASE = re.compile(r"(?=.{1,53}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


async def render(source: Source, app_input: Input) -> str:
    """The output of `helm template`. Raises ConfigError."""
    chart = app_input.helm_chart
    assert chart is not None
    helm = tools.find("helm", app_input.helm_version)
    if helm is None:
        raise ConfigError("Helm is not installed", remedy="install helm on the agent's PATH")
    options = app_input.helm_options
    argv = [
        *(str(helm), "template", "--no-hooks", "--include-crds", "--dependency-update"),
        release_name(source, options),
        str(_local_chart(source, chart)),
        *([f"--namespace={app_input.namespace}"] if app_input.namespace else []),
        *_values(source, options),
    ]
    with tempfile.TemporaryDirectory(prefix="pipecd-helm-") as home:
        # Not those of the machine, which may contain credentials and plugins.
        environment = tools.environment(
            HELM_CONFIG_HOME=f"{home}/config", HELM_CACHE_HOME=f"{home}/cache", HELM_DATA_HOME=f"{home}/data"
        )
        return await run(argv, source, environment, "helm template")


def reads(source: Source, app_input: Input) -> Collection[Path] | None:
    """Charts may depend on others, anywhere."""
    return None


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


def _local_chart(source: Source, chart: HelmChart) -> Path:
    place = Place(source.config.file, key="spec.input.helmChart")
    if chart.repository or chart.git_remote:
        raise ConfigError(
            "charts of other repositories cannot be rendered yet",
            remedy="copy the chart into the repository, and set path",
            place=place,
        )
    path = inside(source, chart.path, "spec.input.helmChart.path")
    if not (path / "Chart.yaml").is_file():
        raise ConfigError(
            f"{chart.path} contains no Chart.yaml", remedy="correct helmChart.path", place=place
        )
    return path


def _values(source: Source, options: HelmOptions) -> list[str]:
    flags = [f"--set={key}={value}" for key, value in options.set_values.items()]
    for name in options.value_files:
        remote = name.startswith(("http://", "https://"))
        key = "spec.input.helmOptions.valueFiles"
        flags.append(f"--values={name if remote else inside(source, name, key)}")
    for key, name in options.set_files.items():
        flags.append(f"--set-file={key}={inside(source, name, 'spec.input.helmOptions.setFiles')}")
    flags += [f"--api-versions={version}" for version in options.api_versions]
    return [*flags, *([f"--kube-version={options.kube_version}"] if options.kube_version else [])]

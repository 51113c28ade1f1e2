"""Kustomize overlays, built by `kustomize` or by the one in `kubectl`."""

from collections.abc import Collection
from pathlib import Path

from pipecd.errors import ConfigError
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import Input
from pipecd.platforms.kubernetes.render import tools
from pipecd.platforms.kubernetes.render.files import run

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def is_overlay(directory: Path) -> bool:
    return any((directory / name).is_file() for name in FILES)


async def render(source: Source, app_input: Input) -> str:
    """The output of `kustomize build`. Raises ConfigError."""
    flags = [part for key, value in app_input.kustomize_options.items() for part in _flag(key, value)]
    argv = [*_command(app_input.kustomize_version), ".", *flags]
    return await run(argv, source, tools.environment(), "kustomize build")


def reads(source: Source) -> Collection[Path] | None:
    """Overlays refer to bases anywhere in the repository, and to remote ones."""
    return None


def _command(version: str) -> list[str | Path]:
    if path := tools.find("kustomize", version):
        return [path, "build"]
    if path := tools.find("kubectl", ""):
        return [path, "kustomize"]
    raise ConfigError("Kustomize is not installed", remedy="install kustomize or kubectl on the agent's PATH")


def _flag(key: str, value: str) -> list[str]:
    return [f"--{key}={value}"] if value else [f"--{key}"]

"""Kustomize overlays, built by `kustomize` or by the one in `kubectl`."""

import asyncio
import shlex
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from pipecd.errors import ConfigError
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import Input
from pipecd.platforms.kubernetes.render import tools
from pipecd.platforms.kubernetes.render.files import run
from pipecd.platforms.kubernetes.render.homes import helm_home
from pipecd.platforms.kubernetes.render.kustomization import Overlay, find_file, read_overlay

#: Where Kustomize puts the charts that it downloads.
_CHARTS = "charts"
_HELM = '#!/bin/sh\n[ "$1" != version ] || exec echo v3.18.0\nexec {helm} "$@"\n'


def is_overlay(directory: Path) -> bool:
    return find_file(directory) is not None


async def render(source: Source, app_input: Input) -> tuple[str, Sequence[str]]:
    """The output of `kustomize build`, and notes for the user. Raises ConfigError, or Temporary."""
    overlay = await asyncio.to_thread(_read, source, app_input)
    flags = [part for key, value in app_input.kustomize_options.items() for part in _flag(key, value)]
    command, note = await _command(app_input.kustomize_version)
    helm = await tools.find("helm", app_input.helm_version) if _uses_helm(app_input) else None
    if overlay.charts and _uses_helm(app_input) and helm is None:
        raise ConfigError("Helm is not installed", remedy="install helm on the agent's PATH")
    written = [directory / _CHARTS for directory in overlay.directories]
    new = [path for path in written if not path.exists()]
    with (
        tempfile.TemporaryDirectory(prefix="pipecd-kustomize-") as home,
        helm_home(source.downloads) as helms,
    ):
        environment = {
            **helms,
            **(source.download_env if overlay.remote else {}),
            "HOME": home,
            # Not the repositories of the agent's machine.
            "GIT_ALLOW_PROTOCOL": "http:https:ssh",
            "GIT_TERMINAL_PROMPT": "0",
        }
        if helm:
            flags.append(f"--helm-command={await asyncio.to_thread(_helm_command, helm.path, home)}")
        try:
            argv = [*command, ".", *flags]
            text = await run(argv, source, environment, "kustomize build", downloads=overlay.remote)
        finally:
            # They would be used by the next rendering, also if it wants another version.
            await asyncio.to_thread(_remove, new)
    return text, [sentence for sentence in (note, helm.note if helm else "") if sentence]


def reads(source: Source, app_input: Input) -> Collection[Path] | None:
    """All bases, components and files; None if some are remote, or read by plugins."""
    overlay = _read(source, app_input)
    return overlay.paths if overlay.complete else None


def writes_files(app_input: Input) -> bool:
    """Charts are downloaded into the checkout."""
    return _uses_helm(app_input)


def _read(source: Source, app_input: Input) -> Overlay:
    restrictor = app_input.kustomize_options.get("load-restrictor", "LoadRestrictionsRootOnly")
    unrestricted = restrictor not in ("", "LoadRestrictionsRootOnly")
    return read_overlay(source, unrestricted=unrestricted, helm=_uses_helm(app_input))


def _uses_helm(app_input: Input) -> bool:
    return app_input.kustomize_options.get("enable-helm", "false").lower() in ("", "true", "t", "1")


async def _command(version: str) -> tuple[list[str | Path], str]:
    """The program, and a sentence if it has another version than the requested one."""
    if tool := await tools.find("kustomize", version):
        return [tool.path, "build"], tool.note
    if tool := await tools.find("kubectl", ""):
        # kubectl's versions are not those of its Kustomize.
        note = await tools.other_kustomize_note(tool.path, version)
        return [tool.path, "kustomize"], note
    raise ConfigError("Kustomize is not installed", remedy="install kustomize or kubectl on the agent's PATH")


def _helm_command(helm: Path, home: str) -> Path:
    """A program that Kustomize accepts: it asks for the version with a flag of Helm 3, and refuses others.

    What it uses of Helm is the same in both.
    """
    script = Path(home, "helm")
    script.write_text(_HELM.format(helm=shlex.quote(str(helm))))
    script.chmod(0o700)
    return script


def _remove(directories: Sequence[Path]) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _flag(key: str, value: str) -> list[str]:
    return [f"--{key}={value}"] if value else [f"--{key}"]

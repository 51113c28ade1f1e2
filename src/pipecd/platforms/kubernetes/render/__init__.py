"""Turns the files of an application into manifests: plain files, a Kustomize overlay, or a Helm chart."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipecd.config.application import ApplicationConfig
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes import argo, hooks
from pipecd.platforms.kubernetes.config import Input
from pipecd.platforms.kubernetes.manifest import Manifest, ManifestReader
from pipecd.platforms.kubernetes.render import helm, kustomize, plain

#: Hooks of a chart that a note names.
_MAX_NAMED_HOOKS = 10


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """The manifests as declared, in the order of the files."""

    manifests: Sequence[Manifest]
    #: What is probably a mistake in the files.
    warnings: Sequence[str]
    #: What the user should know about the rendering.
    notes: Sequence[str]


async def render(source: Source) -> Rendering:
    """Raises ConfigError, or Temporary if something cannot be downloaded.

    The configuration decides: a chart, else a Kustomize overlay, else plain files.
    """
    config: ApplicationConfig = source.config
    app_input: Input = config.spec.input
    reader = ManifestReader(runs_hooks=app_input.hooks)
    notes: Sequence[str] = ()
    if app_input.helm_chart:
        text, notes = await helm.render(source, app_input)
        reader.leaves_out_hooks = True
        await asyncio.to_thread(reader.read, text, "rendered by Helm")
    elif kustomize.is_overlay(source.directory):
        text, notes = await kustomize.render(source, app_input)
        await asyncio.to_thread(reader.read, text, "rendered by Kustomize")
    else:
        await asyncio.to_thread(plain.read, source, app_input, reader)
    return Rendering(
        manifests=reader.manifests,
        warnings=[str(warning) for warning in reader.warnings],
        notes=[*notes, *_hook_notes(reader, enabled=app_input.hooks)],
    )


def reads(source: Source) -> Collection[Path] | None:
    """What rendering reads besides the application's directory; None if that is unknown."""
    app_input: Input = source.config.spec.input
    if app_input.helm_chart:
        return helm.reads(source, app_input)
    return kustomize.reads(source, app_input) if kustomize.is_overlay(source.directory) else ()


def writes_files(config: ApplicationConfig) -> bool:
    """Whether rendering changes files of the checkout."""
    app_input: Input = config.spec.input
    return app_input.helm_chart is None and kustomize.writes_files(app_input)


def _hook_notes(reader: ManifestReader, *, enabled: bool) -> Iterator[str]:
    """What is not run, in one sentence for each reason."""
    option = "set input.hooks to run them"
    if reader.hooks:
        yield f"Hooks of the chart are not run: {_named(reader.hooks)}; {option}"
    of_argo = [found for found in reader.manifests if argo.HOOK in found.annotations]
    if of_argo and not enabled:
        names = _named([hooks.describe(found) for found in of_argo])
        yield f"Hooks of Argo CD are applied like other objects: {names}; {option}"
    _, of_application = hooks.split(reader.manifests, enabled=enabled)
    never = [found for found in of_application if hooks.never_run(found)]
    if never:
        names = _named([hooks.describe(found) for found in never])
        yield f"Hooks of moments that no deployment has are not run: {names}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED_HOOKS} more" if len(names) > _MAX_NAMED_HOOKS else ""
    return ", ".join(names[:_MAX_NAMED_HOOKS]) + more

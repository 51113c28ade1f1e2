"""Turns the files of an application into manifests: plain files, a Kustomize overlay, or a Helm chart."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

from pipecd.config.application import ApplicationConfig
from pipecd.model.stage import Source
from pipecd.platforms.kubernetes.config import Input
from pipecd.platforms.kubernetes.manifest import Manifest, ManifestReader
from pipecd.platforms.kubernetes.render import helm, kustomize, plain
from pipecd.platforms.kubernetes.yaml_reader import Warned


async def render(source: Source) -> tuple[Sequence[Manifest], Sequence[Warned]]:
    """The manifests as declared, in the order of the files, and warnings. Raises ConfigError.

    The configuration decides: a chart, else a Kustomize overlay, else plain files.
    """
    reader = ManifestReader()
    config: ApplicationConfig = source.config
    app_input: Input = config.spec.input
    if app_input.helm_chart:
        text = await helm.render(source, app_input)
        await asyncio.to_thread(reader.read, text, "rendered by Helm")
    elif kustomize.is_overlay(source.directory):
        text = await kustomize.render(source, app_input)
        await asyncio.to_thread(reader.read, text, "rendered by Kustomize")
    else:
        await asyncio.to_thread(plain.read, source, app_input, reader)
    return reader.manifests, reader.warnings


def reads(source: Source) -> Collection[Path] | None:
    """What rendering reads besides the application's directory; None if that is unknown."""
    app_input: Input = source.config.spec.input
    if app_input.helm_chart:
        return helm.reads(source, app_input)
    return kustomize.reads(source) if kustomize.is_overlay(source.directory) else ()


def writes_files(config: ApplicationConfig) -> bool:
    """Helm, and Kustomize with some of its options, download charts into the checkout."""
    app_input: Input = config.spec.input
    return app_input.helm_chart is not None or bool(app_input.kustomize_options)

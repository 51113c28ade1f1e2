"""The desired state of an application: its manifests, and which versions they run."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipecd.config.application import ApplicationConfig
from pipecd.model.deployment import Version, VersionKind
from pipecd.model.provider import FindProviders
from pipecd.model.stage import Source
from pipecd.platforms.images import image_version
from pipecd.platforms.kubernetes.config import KubernetesApp, WorkloadReference
from pipecd.platforms.kubernetes.hooks import split
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.render import render
from pipecd.platforms.kubernetes.targets import Route, find_targets, read_routes
from pipecd.platforms.kubernetes.variants import primary_services


@dataclass(frozen=True, kw_only=True)
class DesiredState:
    """`namespace` is that of objects that name none; empty for the default."""

    manifests: Sequence[Manifest]
    namespace: str
    #: What runs at a moment of a deployment. It is no part of `manifests`.
    hooks: Sequence[Manifest] = ()
    workloads: Sequence[WorkloadReference] = ()
    #: Key and value of the primary variant's label, and whether a quick sync adds it to selectors.
    variant: tuple[str, str] = ("pipecd.dev/variant", "primary")
    adds_variant_label: bool = False
    #: Whether fields that people added to the objects are drift.
    strict: bool = False
    warnings: Sequence[str] = ()
    routes: Sequence[Route] = ()
    #: Services that the pipeline creates for the primary variant.
    generated: Sequence[Manifest] = ()
    #: What the user should know about the rendering.
    notes: Sequence[str] = ()


async def load_desired_state(source: Source) -> DesiredState:
    """Raises ConfigError with file, document, key and remedy."""
    config: ApplicationConfig = source.config
    spec = config.spec
    assert isinstance(spec, KubernetesApp)
    rendering = await render(source)
    manifests, of_moments = split(rendering.manifests, enabled=spec.input.hooks)
    label = spec.variant_label
    return DesiredState(
        manifests=manifests,
        hooks=of_moments,
        namespace=spec.input.namespace,
        workloads=spec.workloads,
        variant=(label.key, label.primary_value),
        adds_variant_label=spec.quick_sync.add_variant_label_to_selector,
        strict=spec.drift_detection.strict,
        warnings=rendering.warnings,
        notes=rendering.notes,
        routes=read_routes(config),
        generated=primary_services(spec, manifests),
    )


def versions(desired: DesiredState) -> Sequence[Version]:
    images = dict.fromkeys(image for manifest in desired.manifests for image in manifest.images)
    if not images:
        return (Version(kind=VersionKind.UNKNOWN, version="unknown"),)
    return tuple(image_version(image) for image in images)


def check_providers(desired: DesiredState, find: FindProviders) -> None:
    """Raises ConfigError if a route names a platform provider that the agent lacks."""
    for route in desired.routes:
        find_targets(route, find)

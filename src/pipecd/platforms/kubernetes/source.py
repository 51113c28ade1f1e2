"""The desired state of an application: its manifests, which versions they run, and how they are synced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipecd.config.application import ApplicationConfig
from pipecd.model.deployment import SyncStrategy, Version, VersionKind
from pipecd.model.plan import Strategy
from pipecd.model.provider import FindProviders
from pipecd.model.stage import Source
from pipecd.platforms.images import image_name, image_tag, image_version
from pipecd.platforms.kubernetes.config import KubernetesApp, WorkloadReference
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.render import render
from pipecd.platforms.kubernetes.targets import Route, find_targets, read_routes
from pipecd.platforms.kubernetes.variants import primary_services


@dataclass(frozen=True, kw_only=True)
class DesiredState:
    """`namespace` is that of objects that name none; empty for the default."""

    manifests: Sequence[Manifest]
    namespace: str
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


async def load_desired_state(source: Source) -> DesiredState:
    """Raises ConfigError with file, document, key and remedy."""
    config: ApplicationConfig = source.config
    spec = config.spec
    assert isinstance(spec, KubernetesApp)
    manifests, warnings = await render(source)
    label = spec.variant_label
    return DesiredState(
        manifests=manifests,
        namespace=spec.input.namespace,
        workloads=spec.workloads,
        variant=(label.key, label.primary_value),
        adds_variant_label=spec.quick_sync.add_variant_label_to_selector,
        strict=spec.drift_detection.strict,
        warnings=[str(warning) for warning in warnings],
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


def choose_strategy(running: DesiredState | None, target: DesiredState) -> Strategy:
    """The pipeline where pods change, and a quick sync for everything else, as PipeCD decides."""
    if running is None:
        return _quick("this is the first deployment")
    old, new = _workloads(running), _workloads(target)
    if not old or not new:
        return _quick("there are no workloads to compare")
    for key in (key for key in new if key in old):
        before, after = old[key].pod_template, new[key].pod_template
        if before != after:
            return _pipeline(_template_change(new[key], old[key].images, new[key].images))
    if reason := _config_change(running.manifests, target.manifests):
        return _pipeline(reason)
    for key in (key for key in new if key in old):
        before_count, after_count = (side[key].spec.get("replicas") for side in (old, new))
        if before_count != after_count:
            return _quick(f"{new[key].name} is scaled from {before_count} to {after_count}")
    return _quick("no pod template and no configuration changed")


def _workloads(desired: DesiredState) -> Mapping[tuple[str, str, str], Manifest]:
    references = desired.workloads or (WorkloadReference(),)
    return {
        (manifest.kind, manifest.namespace or DEFAULT_NAMESPACE, manifest.name): manifest
        for manifest in desired.manifests
        if manifest.group in ("apps", "batch", "")
        and any(
            reference.kind == manifest.kind and reference.name in ("", manifest.name)
            for reference in references
        )
    }


def _template_change(workload: Manifest, old: Sequence[str], new: Sequence[str]) -> str:
    changed = [
        f"{image_name(after)} from {image_tag(before)} to {image_tag(after)}"
        for before, after in zip(old, new, strict=False)
        if before != after
    ]
    if changed:
        return f"the image of {workload.name} changed: {', '.join(changed)}"
    return f"the pod template of {workload.name} changed"


def _config_change(old: Sequence[Manifest], new: Sequence[Manifest]) -> str:
    """Why a change of ConfigMaps and Secrets needs the pipeline; empty if none changed."""
    before, after = _configs(old), _configs(new)
    for key in before.keys() - after.keys():
        return f"the {key[0]} {key[2]} was removed"
    for key in after.keys() - before.keys():
        return f"the {key[0]} {key[2]} was added"
    changed = sorted(key for key in after if after[key].body != before[key].body)
    return f"the {changed[0][0]} {changed[0][2]} changed" if changed else ""


def _configs(manifests: Sequence[Manifest]) -> Mapping[tuple[str, str, str], Manifest]:
    return {
        (manifest.kind, manifest.namespace or DEFAULT_NAMESPACE, manifest.name): manifest
        for manifest in manifests
        if manifest.kind in ("ConfigMap", "Secret") and manifest.group == ""
    }


def _quick(reason: str) -> Strategy:
    return Strategy(strategy=SyncStrategy.QUICK_SYNC, reason=f"Quick sync, because {reason}")


def _pipeline(reason: str) -> Strategy:
    return Strategy(strategy=SyncStrategy.PIPELINE, reason=f"Sync with the pipeline, because {reason}")

"""What a sync adds to the declared objects, besides the marks of their application."""

from collections.abc import Sequence

from pipecd.platforms.kubernetes.config_hash import with_config_hashes
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.shapes import check_workloads


def prepare(declared: Sequence[Manifest], variant_label: tuple[str, str] | None) -> list[Manifest]:
    """With hashes of the configuration, and the label in selectors and pods of workloads, if one is added.

    Raises ConfigError for a workload whose fields have another type.
    """
    check_workloads(declared)
    manifests = with_config_hashes(declared)
    return [with_label(manifest, *variant_label) for manifest in manifests] if variant_label else manifests


def with_label(manifest: Manifest, key: str, value: str) -> Manifest:
    """A workload whose selector and pods have the label."""
    if not manifest.pod_template or manifest.kind in ("Job", "CronJob"):
        return manifest
    spec = {**manifest.spec}
    selector = {**(spec.get("selector") or {})}
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), key: value}
    template = {**manifest.pod_template}
    metadata = {**(template.get("metadata") or {})}
    metadata["labels"] = {**(metadata.get("labels") or {}), key: value}
    spec |= {"selector": selector, "template": {**template, "metadata": metadata}}
    return Manifest({**manifest.body, "spec": spec}, manifest.place)

"""Makes the objects of the canary, the baseline and the primary variant's services. Pure.

A canary consists of copies: workloads with the suffix in their name and the variant label in their selector
and pods, and every ConfigMap and Secret, so that it can differ from the primary variant in these too. A
baseline uses the ConfigMaps and Secrets of the primary variant. Copies are edited as trees: fields that this
agent does not know stay.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.apply import FORCE_REPLACE, REPLACE
from pipecd.platforms.kubernetes.argo import SYNC_OPTIONS
from pipecd.platforms.kubernetes.config import KubernetesApp, WorkloadReference
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.prepare import with_label

PRIMARY, CANARY, BASELINE = "primary", "canary", "baseline"
#: Deployment metadata of PipeCD: the keys of the variant's objects, separated by commas.
RESOURCES: Mapping[str, str] = {CANARY: "canary-resources", BASELINE: "baseline-resources"}
#: Workloads whose number of pods is in `spec.replicas`.
_SCALED = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})
#: Kinds with a pod template of which no copy can run next to the original.
_WITHOUT_VARIANTS = {
    "Job": "it runs once",
    "CronJob": "it runs by its schedule",
    "Rollout": "its own controller makes canaries",
}
#: Fields of a Service that only one Service can have, or that publish it outside of the cluster.
_NOT_COPIED = frozenset(
    {
        *("externalIPs", "loadBalancerIP", "loadBalancerSourceRanges", "loadBalancerClass"),
        *("allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort"),
        *("clusterIP", "clusterIPs"),
    }
)
#: Annotations that delete and create an object at every sync: a canary that serves is scaled in place.
_RECREATING = frozenset({REPLACE, FORCE_REPLACE, SYNC_OPTIONS})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """`name` is primary, canary or baseline. `label` are the key and the value of its label."""

    name: str
    label: tuple[str, str]
    suffix: str

    def rename(self, name: str) -> str:
        return f"{name}-{self.suffix}"


@dataclass(frozen=True, kw_only=True)
class Copies:
    """The objects of a variant, without marks. `sources` are the workloads that `workloads` copies."""

    services: Sequence[Manifest] = ()
    configs: Sequence[Manifest] = ()
    workloads: Sequence[Manifest] = ()
    sources: Sequence[Manifest] = ()

    @property
    def all(self) -> list[Manifest]:
        """In the order of PipeCD's list of resources."""
        return [*self.services, *self.configs, *self.workloads]


def variant_of(spec: KubernetesApp, name: str, suffix: str = "") -> Variant:
    """`suffix` of a stage; empty for the default."""
    label = spec.variant_label
    value = {PRIMARY: label.primary_value, CANARY: label.canary_value, BASELINE: label.baseline_value}[name]
    return Variant(name=name, label=(label.key, value), suffix=suffix or value)


def configured_variant(spec: KubernetesApp, name: str) -> Variant:
    """With the suffix of the variant's last rollout in the pipeline."""
    stages = spec.pipeline.stages if spec.pipeline else ()
    options = [stage.options for stage in stages if stage.name.endswith(f"_{name.upper()}_ROLLOUT")]
    suffixes = [option.suffix for option in options if option is not None and option.suffix]
    return variant_of(spec, name, suffixes[-1] if suffixes else "")


def select_workloads(
    manifests: Sequence[Manifest], references: Sequence[WorkloadReference]
) -> list[Manifest]:
    """Those that have variants: all Deployments, or what `spec.workloads` names. Raises ConfigError."""
    found = [
        manifest
        for manifest in manifests
        if any(
            reference.kind == manifest.kind and reference.name in ("", manifest.name)
            for reference in references or (WorkloadReference(),)
        )
    ]
    for manifest in found:
        if reason := _WITHOUT_VARIANTS.get(manifest.kind):
            raise ConfigError(
                f"{manifest} cannot have variants, because {reason}",
                remedy="remove it from spec.workloads",
                place=manifest.place,
            )
        if not manifest.pod_template:
            raise ConfigError(
                f"{manifest} cannot have variants, because it has no pod template",
                remedy="spec.workloads names objects with spec.template",
                place=manifest.place,
            )
    if not found:
        raise ConfigError(
            "the application has no workload that can have variants",
            remedy="add a Deployment, or correct spec.workloads",
        )
    return found


def count_replicas(text: str, current: int) -> int:
    """`2` → 2, `20%` → 20 % of `current`, rounded up. At least 1."""
    if text.endswith("%"):
        return max(1, math.ceil(current * int(text.removesuffix("%")) / 100))
    return max(1, int(text))


def replicas_of(workload: Mapping[str, Any]) -> int:
    """The number of pods that a workload wants."""
    value = (workload.get("spec") or {}).get("replicas")
    return value if isinstance(value, int) and not isinstance(value, bool) else 1


def make_services(manifests: Sequence[Manifest], name: str, variant: Variant) -> list[Manifest]:
    """A service for the variant alone, of each service, or of the one called `name`. Raises ConfigError."""
    services = [found for found in manifests if is_service(found) and name in ("", found.name)]
    made = [_service(service, variant) for service in services if service.spec.get("selector")]
    if not made:
        raise ConfigError(
            f"the application has no service {name} with a selector".replace("  ", " "),
            remedy="add one, correct spec.service.name, or remove createService",
        )
    return made


def is_service(manifest: Manifest) -> bool:
    return manifest.kind == "Service" and manifest.group == ""


def _service(service: Manifest, variant: Variant) -> Manifest:
    spec = {key: value for key, value in service.spec.items() if key not in _NOT_COPIED}
    if service.spec.get("clusterIP") == "None":
        spec["clusterIP"] = "None"
    spec["type"] = "ClusterIP"
    spec["selector"] = {**service.spec["selector"], variant.label[0]: variant.label[1]}
    if isinstance(ports := spec.get("ports"), list):
        spec["ports"] = [
            {key: value for key, value in port.items() if key != "nodePort"}
            if isinstance(port, Mapping)
            else port
            for port in ports
        ]
    return _renamed(Manifest({**service.body, "spec": spec}, service.place), variant)


def primary_services(spec: KubernetesApp, manifests: Sequence[Manifest]) -> list[Manifest]:
    """The services that the pipeline's primary rollouts create. They are not in Git, and belong to it."""
    stages = spec.pipeline.stages if spec.pipeline else ()
    made: list[Manifest] = []
    for stage in stages:
        if stage.name.endswith("_PRIMARY_ROLLOUT") and stage.options and stage.options.create_service:
            try:
                made += make_services(
                    manifests, spec.service.name, variant_of(spec, PRIMARY, stage.options.suffix)
                )
            except ConfigError:
                # The stage reports it.
                continue
    return made


def make_canary(
    spec: KubernetesApp,
    manifests: Sequence[Manifest],
    variant: Variant,
    *,
    create_service: bool,
    replicas: Callable[[Manifest], int],
) -> Copies:
    """`manifests` have the patches. `replicas` is called with each workload. Raises ConfigError."""
    configs = [found for found in manifests if found.kind in ("ConfigMap", "Secret") and found.group == ""]
    names = {_reference(found, spec.input.namespace) for found in configs}
    return _make(spec, manifests, variant, create_service, replicas, configs=configs, renamed=names)


def make_baseline(
    spec: KubernetesApp,
    manifests: Sequence[Manifest],
    variant: Variant,
    *,
    create_service: bool,
    replicas: Callable[[Manifest], int],
) -> Copies:
    """`manifests` are those of the running commit. Raises ConfigError."""
    return _make(spec, manifests, variant, create_service, replicas, configs=(), renamed=frozenset())


def _make(
    spec: KubernetesApp,
    manifests: Sequence[Manifest],
    variant: Variant,
    create_service: bool,
    replicas: Callable[[Manifest], int],
    *,
    configs: Sequence[Manifest],
    renamed: Set[tuple[str, str, str]],
) -> Copies:
    workloads = select_workloads(manifests, spec.workloads)
    copies = Copies(
        services=make_services(manifests, spec.service.name, variant) if create_service else (),
        configs=[_renamed(found, variant) for found in configs],
        workloads=[
            _workload(found, variant, replicas(found), renamed, spec.input.namespace) for found in workloads
        ],
        sources=workloads,
    )
    declared = {manifest.key: manifest for manifest in manifests}
    for copy in copies.all:
        if copy.key in declared:
            raise ConfigError(
                f"{copy} is in Git, and would be the {variant.name} of another object",
                remedy="rename it, or set the stage's suffix",
                place=declared[copy.key].place,
            )
    return copies


def _workload(
    workload: Manifest,
    variant: Variant,
    replicas: int,
    renamed: Set[tuple[str, str, str]],
    default_namespace: str,
) -> Manifest:
    labelled = with_label(workload, *variant.label)
    spec = dict(labelled.spec)
    if workload.kind in _SCALED or "replicas" in spec:
        spec["replicas"] = replicas
    if workload.kind == "StatefulSet" and spec.get("volumeClaimTemplates"):
        # The variant's volumes end with it.
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    template = dict(labelled.pod_template)
    namespace = workload.namespace or default_namespace or DEFAULT_NAMESPACE
    names = {(kind, name) for kind, where, name in renamed if where == namespace}
    if isinstance(template.get("spec"), Mapping):
        template["spec"] = rename_references(template["spec"], names, variant.rename)
    spec["template"] = template
    return _renamed(Manifest({**labelled.body, "spec": spec}, workload.place), variant)


def _renamed(manifest: Manifest, variant: Variant) -> Manifest:
    metadata = {**manifest.body["metadata"], "name": variant.rename(manifest.name)}
    if manifest.annotations:
        metadata["annotations"] = {
            key: value for key, value in manifest.annotations.items() if key not in _RECREATING
        }
    body = {key: value for key, value in manifest.body.items() if key != "status"}
    return Manifest({**body, "metadata": metadata}, manifest.place)


def _reference(manifest: Manifest, default_namespace: str) -> tuple[str, str, str]:
    return manifest.kind, manifest.namespace or default_namespace or DEFAULT_NAMESPACE, manifest.name


#: Where pods refer to ConfigMaps and Secrets: the key of an object, the key of the name in it, and the kind.
_REFERENCES = (
    ("configMap", "name", "ConfigMap"),
    ("secret", "secretName", "Secret"),
    ("secret", "name", "Secret"),
    ("configMapKeyRef", "name", "ConfigMap"),
    ("secretKeyRef", "name", "Secret"),
    ("configMapRef", "name", "ConfigMap"),
    ("secretRef", "name", "Secret"),
    ("nodePublishSecretRef", "name", "Secret"),
    ("azureFile", "secretName", "Secret"),
)
#: The parts of a pod that contain such references.
_REFERRING = frozenset({"volumes", "containers", "initContainers", "ephemeralContainers"})


def rename_references(
    pod: Mapping[str, Any], names: Set[tuple[str, str]], rename: Callable[[str], str]
) -> dict[str, Any]:
    """The spec of a pod that refers to the renamed objects. `names` are the kind and name of each."""
    changed = {
        key: _rename(value, names, rename) if key in _REFERRING else value for key, value in pod.items()
    }
    if isinstance(secrets := pod.get("imagePullSecrets"), list):
        changed["imagePullSecrets"] = [_rename_at(item, "name", "Secret", names, rename) for item in secrets]
    return changed


def _rename(value: Any, names: Set[tuple[str, str]], rename: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_rename(item, names, rename) for item in value]
    if not isinstance(value, Mapping):
        return value
    changed = {key: _rename(item, names, rename) for key, item in value.items()}
    for key, name_key, kind in _REFERENCES:
        if isinstance(changed.get(key), Mapping):
            changed[key] = _rename_at(changed[key], name_key, kind, names, rename)
    return changed


def _rename_at(
    value: Any, name_key: str, kind: str, names: Set[tuple[str, str]], rename: Callable[[str], str]
) -> Any:
    if not isinstance(value, Mapping) or (kind, value.get(name_key)) not in names:
        return value
    return {**value, name_key: rename(str(value[name_key]))}

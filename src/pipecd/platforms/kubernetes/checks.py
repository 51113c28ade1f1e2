"""Whether the manifests fit to the pipeline: checked before the first stage changes anything. Pure."""

from collections.abc import Sequence

from pipecd.errors import ConfigError
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.shapes import check_shapes
from pipecd.platforms.kubernetes.traffic import Routing, find_routing, is_routed
from pipecd.platforms.kubernetes.variants import PRIMARY, is_service, select_workloads


def check_manifests(spec: KubernetesApp, manifests: Sequence[Manifest]) -> None:
    """Raises ConfigError, with the place of the manifest, if traffic could not be routed as configured."""
    check_shapes(manifests)
    if not is_routed(spec):
        return
    routing = find_routing(spec, manifests)
    _check_service(routing, manifests)
    if spec.traffic_routing.method != "istio" and not _adds_label(spec):
        _check_workloads(routing, manifests)


def _check_service(routing: Routing, manifests: Sequence[Manifest]) -> None:
    """Istio chooses pods by subsets of the service; with the other methods, it selects the primary ones."""
    key, value = routing.variants[PRIMARY].label
    for service in manifests:
        if not is_service(service) or service.name != routing.service:
            continue
        selected = (service.spec.get("selector") or {}).get(key)
        if routing.spec.traffic_routing.method == "istio":
            if selected is not None:
                raise ConfigError(
                    f"{service} selects the pods of one variant, and its subsets would have no others",
                    remedy=f"remove {key} from its selector",
                    place=service.place,
                )
        elif selected != value:
            raise ConfigError(
                f"{service} selects the pods of all variants, so traffic cannot be routed to one",
                remedy=f"add {key}: {value} to its selector",
                place=service.place,
            )


def _check_workloads(routing: Routing, manifests: Sequence[Manifest]) -> None:
    key, value = routing.variants[PRIMARY].label
    missing = [
        workload
        for workload in select_workloads(manifests, routing.spec.workloads)
        if any(
            labels.get(key) != value
            for labels in (
                (workload.spec.get("selector") or {}).get("matchLabels") or {},
                (workload.pod_template.get("metadata") or {}).get("labels") or {},
            )
        )
    ]
    if missing:
        names = ", ".join(str(workload) for workload in missing)
        raise ConfigError(
            f"{names}: the selector and the pod template lack the label {key}: {value}, by which traffic is"
            " routed",
            remedy="add it to both, or set addVariantLabelToSelector: true in K8S_PRIMARY_ROLLOUT",
            place=missing[0].place,
        )


def _adds_label(spec: KubernetesApp) -> bool:
    stages = spec.pipeline.stages if spec.pipeline else ()
    return any(
        stage.options is not None and getattr(stage.options, "add_variant_label_to_selector", False)
        for stage in stages
    )

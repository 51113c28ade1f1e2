"""Who decides how many replicas a workload has: Git, or an autoscaler.

An autoscaler writes the count through the subresource `scale`, and is then its field manager. Before it has
done so, this agent owns the count alone; a count that is changed or removed in Git would then replace the
autoscaler's, or the server's default of 1 would.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipecd.errors import NotFound, PermissionDenied
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.discovery import preferred
from pipecd.platforms.kubernetes.cluster.types import ResourceType, split_api_version
from pipecd.platforms.kubernetes.field_managers import owns_alone
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import MANAGER

Log = Callable[[str], None]
#: Kinds that scale what their `spec.scaleTargetRef` names. The field may leave out the kind in the second.
_AUTOSCALERS = (("autoscaling", "HorizontalPodAutoscaler"), ("keda.sh", "ScaledObject"))


async def with_replicas(
    cluster: Cluster,
    kind: ResourceType,
    body: dict[str, Any],
    live: Object | None,
    log: Log,
    *,
    declared: Sequence[Manifest] = (),
    whole: bool = False,
) -> dict[str, Any]:
    """`body` with the count of replicas to send.

    `declared` are the objects of the application, which may contain an autoscaler that does not exist yet.
    With `whole`, `body` replaces the object, so that a field that is left out is reset.
    """
    spec, before = body.get("spec"), (live or {}).get("spec")
    if not isinstance(spec, Mapping) or not isinstance(before, Mapping) or live is None:
        return body
    wanted, current = spec.get("replicas"), before.get("replicas")
    if current is None or wanted == current:
        return body
    name = f"{kind.kind} {live['metadata']['name']}"
    if scaler := _scaler(live):
        log(f"{name}: {scaler} controls the replicas; keeping them at {current}")
        kept = {key: value for key, value in spec.items() if key != "replicas"}
        return {**body, "spec": {**kept, "replicas": current} if whole else kept}
    if wanted is None and not whole and not owns_alone(live, "spec", "replicas"):
        return body
    autoscaler = _declared_autoscaler(kind, live, declared) or await _autoscaler(cluster, kind, live)
    if not autoscaler:
        return body
    log(f"{name}: {autoscaler} controls the replicas; keeping them at {current}")
    return {**body, "spec": {**spec, "replicas": current}}


def without_scaled_replicas(body: dict[str, Any], live: Object | None) -> dict[str, Any]:
    """`body` without a count that an autoscaler has set, as far as that is known without a request."""
    spec = body.get("spec")
    if live is None or not isinstance(spec, Mapping) or not _scaler(live):
        return body
    return {**body, "spec": {key: value for key, value in spec.items() if key != "replicas"}}


def _scaler(live: Mapping[str, Any]) -> str:
    """The manager that scaled the workload and is not a person with kubectl; empty if there is none."""
    for entry in live["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        scaled = entry.get("subresource") == "scale" and "f:replicas" in fields
        if scaled and not manager.startswith(("kubectl", MANAGER)):
            return manager
    return ""


def _declared_autoscaler(kind: ResourceType, live: Object, declared: Sequence[Manifest]) -> str:
    namespace = live["metadata"].get("namespace", "")
    for manifest in declared:
        same_namespace = manifest.namespace in ("", namespace)
        scales = (manifest.group, manifest.kind) in _AUTOSCALERS and same_namespace
        if scales and _targets(manifest.body, kind, live):
            return f"{manifest.kind} {manifest.name}"
    return ""


async def _autoscaler(cluster: Cluster, kind: ResourceType, live: Object) -> str:
    """The autoscaler in the cluster; empty if there is none, or if the agent may not list them."""
    namespace = live["metadata"].get("namespace", "")
    for found in preferred(await cluster.kinds.types()):
        if (found.group, found.kind) not in _AUTOSCALERS:
            continue
        try:
            items = await cluster.api.list(found, namespace)
        except (NotFound, PermissionDenied):
            continue
        for item in items:
            if _targets(item, kind, live):
                return f"{found.kind} {item['metadata']['name']}"
    return ""


def _targets(autoscaler: Mapping[str, Any], kind: ResourceType, live: Object) -> bool:
    spec = autoscaler.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
    if not isinstance(target, Mapping):
        return False
    group, _ = split_api_version(str(target.get("apiVersion") or "apps/v1"))
    named = (group, target.get("kind") or "Deployment", target.get("name"))
    return named == (kind.group, kind.kind, live["metadata"]["name"])

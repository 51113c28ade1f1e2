"""Creates and deletes the objects of a canary or a baseline.

Their keys are stored in the deployment's metadata before they are created, as PipeCD does, and each object
has the annotation of its variant. They are deleted by both.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipecd.errors import NotFound, PermissionDenied
from pipecd.model.stage import Again
from pipecd.platforms.kubernetes.apply import find_live, place
from pipecd.platforms.kubernetes.cluster.api import Object, Propagation
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import belongs_to, resource_key
from pipecd.platforms.kubernetes.order import sort
from pipecd.platforms.kubernetes.owned import identity_of, list_owned
from pipecd.platforms.kubernetes.stages.converge import converge
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.variants import RESOURCES, Copies, Variant, replicas_of

#: Stage metadata: the number of pods of each workload; since when the stage waits for deleted workloads.
REPLICAS, _DELETING = "pipecd/replicas", "pipecd/deleting-since"
_POLL = 1.0
#: The kinds of which a variant has objects.
_KINDS = (
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
)


async def live_replicas(job: Job, workloads: Sequence[Manifest]) -> Mapping[str, int]:
    """How many pods each workload wants: in the cluster, as an autoscaler may have changed it, or in Git."""
    counts = {}
    for manifest in workloads:
        live = await find_live(job.cluster, await place(job.cluster, manifest, job.namespace))
        counts[str(manifest)] = replicas_of(live or manifest.body)
    return counts


async def apply_variant(job: Job, variant: Variant, copies: Copies, counts: Mapping[str, int]) -> Step:
    """One step of creating the objects and waiting until they work. `counts` are the pods by workload."""
    job = replace(job, variant=variant)
    if REPLICAS not in job.work.saved:
        keys = [await _key(job, manifest) for manifest in copies.all]
        name = RESOURCES[variant.name]
        # A pipeline may have several rollouts of a variant.
        known = [key for key in job.work.shared.get(name, "").split(",") if key]
        return Again(
            saved={REPLICAS: json.dumps(counts)},
            shared={name: ",".join(dict.fromkeys([*known, *keys]))},
        )
    step = await converge(job, sort(copies.all, by_kind=not job.spec.input.file_order))
    shown = await _shown_replicas(job, variant, copies.workloads, counts)
    if isinstance(step, Again):
        return replace(step, saved={**step.saved, **shown})
    if step is None and shown.items() - job.work.saved.items():
        return Again(saved=shown)
    return step


async def _shown_replicas(
    job: Job, variant: Variant, workloads: Sequence[Manifest], counts: Mapping[str, int]
) -> Mapping[str, str]:
    """Stage metadata that consoles show: how many pods the variant has, and how many are ready."""
    ready = 0
    for manifest in workloads:
        live = await find_live(job.cluster, await place(job.cluster, manifest, job.namespace))
        status = (live or {}).get("status") or {}
        # A DaemonSet counts nodes.
        found = status.get("readyReplicas", status.get("numberReady", 0))
        ready += found if isinstance(found, int) else 0
    name = variant.name
    return {f"{name}-replicas": str(sum(counts.values())), f"{name}-ready-replicas": str(ready)}


async def _key(job: Job, manifest: Manifest) -> str:
    return resource_key((await place(job.cluster, manifest, job.namespace)).manifest)


@dataclass(frozen=True, kw_only=True)
class _Live:
    type: ResourceType
    object: Object

    @property
    def phase(self) -> int:
        """Services are deleted first, then workloads, and their configuration when the pods are gone."""
        return {"Service": 0, "ConfigMap": 2, "Secret": 2}.get(self.type.kind, 1)

    def __str__(self) -> str:
        return str(Manifest(self.object))


async def delete_variant(job: Job, variant: Variant) -> Step:
    """One step of deleting the variant; None if nothing of it exists."""
    found = await _find(job, variant)
    for phase in range(3):
        items = [item for item in found if item.phase == phase]
        remaining = [item for item in items if not item.object["metadata"].get("deletionTimestamp")]
        for item in remaining:
            await _delete(job, item)
        if remaining:
            return Again(note=f"Deleted {', '.join(map(str, remaining[:5]))}")
        if items and phase == 1:
            since = float(job.work.saved.get(_DELETING) or job.work.now)
            timeout = job.settings.variant_deletion_timeout
            if job.work.now - since <= timeout:
                note = f"Waiting until the pods of {items[0]} are gone"
                return Again(after=_POLL, saved={_DELETING: str(since)}, note=note)
            job.work.log.error(f"{items[0]} is still being deleted after {timeout:g} s; continuing")
    return None


async def _delete(job: Job, item: _Live) -> None:
    metadata = item.object["metadata"]
    # In the foreground, a workload exists until its pods are gone.
    propagation: Propagation = "Foreground" if item.phase == 1 else "Background"
    try:
        await job.cluster.api.delete(
            item.type,
            metadata.get("namespace", ""),
            metadata["name"],
            uid=metadata["uid"],
            propagation=propagation,
        )
    except NotFound:
        return
    job.work.log.info(f"Deleted {item}")


async def _find(job: Job, variant: Variant) -> Sequence[_Live]:
    """The objects of the variant that this application created: by their keys, and by their annotation."""
    found: dict[tuple[str, ...], _Live] = {}
    kinds = dict.fromkeys(_KINDS)
    for key in job.work.shared.get(RESOURCES[variant.name], "").split(","):
        if key.count(":") < 3:
            continue
        api_version, kind, namespace, name = key.split(":", 3)
        kinds[api_version, kind] = None
        try:
            type = await job.cluster.kinds.find(api_version, kind)
            live = await job.cluster.api.get(type, namespace if type.namespaced else "", name)
        except (UnknownKind, NotFound):
            continue
        _add(job, variant, found, _Live(type=type, object=live))
    for api_version, kind in kinds:
        try:
            type = await job.cluster.kinds.find(api_version, kind)
            owned = await list_owned(job.cluster, type, job.application, job.target.provider)
        except (UnknownKind, NotFound, PermissionDenied):
            # A role may be limited to the namespaces and kinds of the application. The keys are enough then.
            continue
        for live in owned:
            _add(job, variant, found, _Live(type=type, object=live))
    return list(found.values())


def _add(job: Job, variant: Variant, found: dict[tuple[str, ...], _Live], item: _Live) -> None:
    annotations = item.object["metadata"].get("annotations") or {}
    key, value = variant.label
    if annotations.get(key) == value and belongs_to(item.object, job.application):
        found[identity_of(item.type, item.object)] = item

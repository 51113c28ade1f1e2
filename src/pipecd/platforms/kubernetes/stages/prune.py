"""Deletes objects of the application that are no longer in Git.

What will be deleted is determined and logged before anything is applied, and deleted after everything works.
Each object is read again just before: it must still be the same object, and belong to the application.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipecd.errors import NotFound, PermissionDenied, PipecdError, Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Again, Failed
from pipecd.platforms.kubernetes import order
from pipecd.platforms.kubernetes.apply import find_live, place
from pipecd.platforms.kubernetes.argo import sync_options
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind, preferred
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.health.deletion import describe_deletion
from pipecd.platforms.kubernetes.health.fields import epoch_seconds
from pipecd.platforms.kubernetes.hooks import runs
from pipecd.platforms.kubernetes.manifest import Key, Manifest
from pipecd.platforms.kubernetes.mark import RESOURCE_KEY, belongs_to
from pipecd.platforms.kubernetes.owned import identity_of, is_same_object, list_owned
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import (
    load_kinds,
    load_running,
    running_manifests,
    store_kinds,
)
from pipecd.platforms.kubernetes.variants import RESOURCES, primary_services

PRUNE = "pipecd.dev/prune"
#: Name in the application's storage: what a stage will delete.
STORED = "kubernetes-prune"
#: Stage metadata: the list is stored; how many objects of it were deleted, and how many still exist.
_LISTED, _DELETED, REMAINING = "pipecd/prune-listed", "pipecd/pruned", "pipecd/prune-remaining"
#: Kinds that contain data or other objects: deleted only if they say so.
KEPT_KINDS = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"})
#: Annotations that keep an object: of other tools, and ours.
_KEEPING = {
    PRUNE: ("disabled",),
    "kustomize.toolkit.fluxcd.io/prune": ("disabled",),
    "helm.sh/resource-policy": ("keep",),
}
_ARGO_KEEPING = frozenset({"Prune=false", "Delete=false"})
_ARGO_CONFIRM = frozenset({"Prune=confirm", "Delete=confirm"})
#: Confirms the deletion of an object with such an option, with the time at which a person confirmed it.
ARGO_APPROVED = "argocd.argoproj.io/deletion-approved"
#: A confirmation is valid for so long (seconds), so that an old one does not delete a later object.
APPROVAL_AGE = 24 * 3600.0
#: Clocks of people may be ahead of the agent's (seconds).
_CLOCK_SKEW = 300.0
#: So many may always be deleted.
ALWAYS_ALLOWED = 5
#: Kinds that are listed at the same time.
_CONCURRENT = 8
_GONE_POLL = 0.5
#: Stage metadata: since when it waits for that.
_GONE_SINCE = "pipecd/prune-waiting-since"


@dataclass(frozen=True, kw_only=True)
class Obsolete:
    """An object to delete."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return str(Key("", self.kind, self.namespace, self.name))


async def list_once(job: Job, *, limit: int, only_primary: bool = False) -> Step:
    """Determine, log and store what will be deleted; None if that was done. Raises Refused at the limit.

    `only_primary` leaves all canaries and baselines; those of this deployment are always left.
    """
    if _LISTED in job.work.saved:
        return None
    obsolete = await find_obsolete(job, only_primary=only_primary)
    _check_limit(job, obsolete, limit)
    for item in obsolete:
        job.work.log.info(f"{item} is not in Git, and will be deleted")
    content = {"token": job.work.token, "obsolete": [vars(item) for item in obsolete]}
    await job.work.storage.store(STORED, json.dumps(content).encode())
    return Again(saved={_LISTED: str(len(obsolete))})


async def delete(job: Job) -> Step:
    """Delete what `list_once` stored, and wait a while until it is gone. None when it is done."""
    if job.work.saved.get(_LISTED, "0") == "0" or REMAINING in job.work.saved:
        return None
    content = decode_json(await job.work.storage.load(STORED))
    if content["token"] != job.work.token:
        return Failed(reason="the list of objects to delete is lost", remedy="sync the application again")
    obsolete = [Obsolete(**values) for values in content["obsolete"]]
    if _DELETED not in job.work.saved:
        count = 0
        for item in obsolete:
            count += await delete_one(job, item)
        job.work.log.info(f"Deleted {count} objects that are not in Git")
        return Again(saved={_DELETED: str(count)})
    return await _wait_until_gone(job, obsolete)


async def _wait_until_gone(job: Job, obsolete: Sequence[Obsolete]) -> Step:
    """What does not end in time is named; the deployment does not fail because of it."""
    semaphore = asyncio.Semaphore(_CONCURRENT)

    async def read(item: Obsolete) -> str:
        async with semaphore:
            return await _remaining(job, item)

    remaining = [text for text in await asyncio.gather(*map(read, obsolete)) if text]
    since = float(job.work.saved.get(_GONE_SINCE, job.work.now))
    if remaining and job.work.now - since < job.settings.gone_timeout:
        return Again(after=_GONE_POLL, saved={_GONE_SINCE: str(since)}, note=remaining[0])
    for text in remaining:
        job.work.log.error(text)
    return Again(saved={REMAINING: str(len(remaining))})


async def _remaining(job: Job, item: Obsolete) -> str:
    """Says what an object that was deleted still waits for; empty if it is gone or was not deleted."""
    try:
        kind = await job.cluster.kinds.find(item.api_version, item.kind)
        live = await job.cluster.api.get(kind, item.namespace, item.name)
    except (NotFound, PermissionDenied, UnknownKind):
        return ""
    if live["metadata"]["uid"] != item.uid or not live["metadata"].get("deletionTimestamp"):
        return ""
    return f"{item} is still being deleted{describe_deletion(live)}"


async def find_obsolete(job: Job, *, only_primary: bool = False) -> Sequence[Obsolete]:
    """The application's objects in the cluster that are not declared, in the order of deletion."""
    declared = await _declared(job)
    known = await load_kinds(job.work)
    kinds = [
        kind
        for kind in preferred(await job.cluster.kinds.types())
        if {"list", "delete"} <= kind.verbs and (known is None or (kind.group, kind.kind) in known)
    ]
    semaphore = asyncio.Semaphore(_CONCURRENT)

    async def owned(kind: ResourceType) -> Sequence[Object]:
        async with semaphore:
            return await _owned(job, kind)

    by_kind = list(zip(kinds, await asyncio.gather(*map(owned, kinds)), strict=True))
    # A kind whose API server is down may have objects too.
    if known is None and not job.cluster.kinds.broken:
        present = {(kind.group, kind.kind) for kind, found in by_kind if found}
        await store_kinds(job.work, present | {(found.group, found.kind) for found in job.declared})
    items = [(kind, live) for kind, found in by_kind for live in found]
    items += await _without_labels(job, {live["metadata"]["uid"] for _, live in items}, declared)
    candidates = [
        (kind, live)
        for kind, live in items
        if identity_of(kind, live) not in declared
        and may_delete(job, live, kind.kind)
        and not _belongs_to_variant(job, live, only_primary=only_primary)
    ]
    others = [other for other in job.all_jobs if other is not job] if candidates else []
    elsewhere = [(other, await _declared(other)) for other in others]
    obsolete = [
        (Manifest(live), obsolete_of(kind, live))
        for kind, live in candidates
        if not await _is_declared_elsewhere(elsewhere, kind, live)
    ]
    return in_order_of_deletion(obsolete)


def in_order_of_deletion(found: Sequence[tuple[Manifest, Obsolete]]) -> Sequence[Obsolete]:
    """What depends on others is deleted before them."""
    by_uid = {item.uid: item for _, item in found}
    ordered = order.sort([manifest for manifest, _ in found])
    return [by_uid[manifest.body["metadata"]["uid"]] for manifest in reversed(ordered)]


async def _without_labels(
    job: Job, known: Set[str], declared: Set[tuple[str, ...]]
) -> list[tuple[ResourceType, Object]]:
    """Objects of the running commit that PipeCD's agent applied: it writes annotations, and no labels."""
    if not (job.is_own and job.work.deployment.running_commit) or await load_running(job.work):
        # There is nothing, or this agent applied it.
        return []
    try:
        source, manifests = await running_manifests(job.work)
    except PipecdError as error:
        job.work.log.info(f"Objects of the running commit without labels are not deleted: {error}")
        return []
    namespace = source.config.spec.input.namespace
    found = []
    for manifest in manifests:
        try:
            placed = await place(job.cluster, manifest, namespace)
            if placed.identity in declared:
                continue
            live = await find_live(job.cluster, placed)
        except PipecdError:
            continue
        if live and live["metadata"]["uid"] not in known and belongs_to(live, job.application):
            found.append((placed.type, live))
    return found


async def _declared(job: Job) -> Set[tuple[str, ...]]:
    """The declared objects whose kind the cluster has; those of others cannot exist.

    Services that the pipeline creates for the primary variant count as declared, and so do hooks that are
    applied under their own names.
    """
    declared = set()
    hooks = [hook for hook in job.hooks if not runs(hook)]
    # Another name of this cluster may be one that the stage is not about.
    for manifest in (*job.declared, *job.elsewhere, *hooks, *primary_services(job.spec, job.declared)):
        try:
            placed = await place(job.cluster, manifest, job.namespace)
        except UnknownKind:
            continue
        declared.add(placed.identity)
    return declared


def _belongs_to_variant(job: Job, live: Any, *, only_primary: bool) -> bool:
    """Whether the object is a canary's or a baseline's, which other stages delete."""
    label, annotations = job.spec.variant_label, live["metadata"].get("annotations") or {}
    if annotations.get(label.key) not in (label.canary_value, label.baseline_value):
        return False
    stored = ",".join(job.work.shared.get(name, "") for name in RESOURCES.values())
    return only_primary or annotations.get(RESOURCE_KEY) in stored.split(",")


async def _is_declared_elsewhere(
    elsewhere: Sequence[tuple[Job, Set[tuple[str, ...]]]], kind: ResourceType, live: Any
) -> bool:
    """Whether the object is declared for another platform provider, which is the same cluster.

    `elsewhere` are the other jobs with what they declare.
    """
    identity = identity_of(kind, live)
    others = [other for other, declared in elsewhere if identity in declared]
    return any([await is_same_object(other.cluster, kind, live) for other in others])


async def _owned(job: Job, kind: ResourceType) -> list[Any]:
    """The objects of one kind that this application applied, as metadata."""
    try:
        return await list_owned(job.cluster, kind, job.application, job.work.provider)
    except PermissionDenied as error:
        # A role may be limited to the kinds that the application uses.
        job.work.log.info(f"Objects of the kind {kind.kind} are not deleted: {error}")
        return []
    except NotFound:
        return []


def may_delete(job: Job, live: Any, kind: str) -> bool:
    """False for an object that is kept by its annotations, or being deleted already. Says so if needed."""
    metadata = live["metadata"]
    annotations = metadata.get("annotations") or {}
    if metadata.get("deletionTimestamp"):
        return False
    if any(annotations.get(key) in values for key, values in _KEEPING.items()):
        return False
    options = sync_options(annotations)
    if options & _ARGO_KEEPING:
        return False
    if options & _ARGO_CONFIRM and not is_approved(annotations, job.work.now):
        item = Key("", kind, metadata.get("namespace", ""), metadata["name"])
        job.work.log.info(
            f"{item} is not in Git, and is kept until its deletion is confirmed (Prune=confirm):"
            f" annotate it with {ARGO_APPROVED} and the current time, such as {_format_time(job.work.now)},"
            " and sync again"
        )
        return False
    return kind not in KEPT_KINDS or annotations.get(PRUNE) == "enabled"


def is_approved(annotations: Mapping[str, str], now: float) -> bool:
    """Whether a person confirmed the deletion within the last day; `now` is in epoch seconds."""
    at = epoch_seconds(annotations.get(ARGO_APPROVED))
    return bool(at) and -_CLOCK_SKEW <= now - at <= APPROVAL_AGE


def _format_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def obsolete_of(kind: ResourceType, live: Any) -> Obsolete:
    metadata = live["metadata"]
    return Obsolete(
        api_version=kind.api_version,
        kind=kind.kind,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
    )


def _check_limit(job: Job, obsolete: Sequence[Obsolete], limit: int) -> None:
    declared = sum(len(other.declared) for other in job.all_jobs)
    total = len(obsolete) + declared
    names = ", ".join(str(item) for item in obsolete[:20])
    if obsolete and not declared:
        raise Refused(
            f"the application declares no objects, so all {len(obsolete)} would be deleted: {names}",
            remedy="restore its files, or delete the objects yourself",
        )
    if len(obsolete) > ALWAYS_ALLOWED and 100 * len(obsolete) > limit * total:
        raise Refused(
            f"{len(obsolete)} of {total} objects would be deleted, more than {limit} %: {names}",
            remedy="check the files, or raise pruneLimit",
        )


async def delete_one(job: Job, item: Obsolete) -> int:
    """1 if the object was deleted, 0 if it is gone or no longer to be deleted."""
    try:
        kind = await job.cluster.kinds.find(item.api_version, item.kind)
        live = await job.cluster.api.get(kind, item.namespace, item.name)
    except (NotFound, UnknownKind):
        return 0
    same = live["metadata"]["uid"] == item.uid and belongs_to(live, job.application)
    if not same or not may_delete(job, live, item.kind):
        if same and live["metadata"].get("deletionTimestamp"):
            return 0
        job.work.log.info(f"{item} was changed by another program, and is kept")
        return 0
    try:
        await job.cluster.api.delete(kind, item.namespace, item.name, uid=item.uid)
    except NotFound:
        return 0
    except PipecdError as error:
        job.work.log.error(f"{item} cannot be deleted: {error}")
        raise
    job.work.log.info(f"Deleted {item}")
    return 1

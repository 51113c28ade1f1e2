"""Objects that a deployment adds: recorded before they are created, and deleted by its rollback.

Only what did not exist before the deployment is recorded, so a rollback never deletes what was there before.
"""

import json
from collections.abc import Set
from typing import Any

from pipecd.errors import NotFound, PipecdError, Refused
from pipecd.json_input import decode_json
from pipecd.model.stage import Work
from pipecd.platforms.kubernetes.apply import find_live, place
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.manifest import Key, Manifest
from pipecd.platforms.kubernetes.mark import COMMIT, belongs_to
from pipecd.platforms.kubernetes.stages.converge import APPLIED
from pipecd.platforms.kubernetes.stages.job import Job
from pipecd.platforms.kubernetes.stages.prune import (
    delete_one,
    in_order_of_deletion,
    may_delete,
    obsolete_of,
)
from pipecd.platforms.kubernetes.stages.rendering import running_manifests
from pipecd.platforms.kubernetes.targets import Target, assign, read_routes

#: Name in the application's storage: what the last deployment added.
STORED = "kubernetes-added"


async def record_once(job: Job) -> None:
    """Store which of the declared objects do not exist. Call it before anything is applied."""
    nothing = APPLIED in job.work.saved or not job.work.deployment.running_commit
    if nothing or await _load(job.work) is not None:
        return
    try:
        before = await _keys_before(job)
    except PipecdError as error:
        job.work.log.info(f"A rollback will not delete what this deployment adds: {error}")
        return
    added = []
    for manifest in job.declared:
        if manifest.key in before:
            continue
        try:
            placed = await place(job.cluster, manifest, job.namespace)
        except UnknownKind:
            # Its definition is part of the deployment, or there will be no object.
            added.append([manifest.api_version, manifest.kind, manifest.namespace, manifest.name])
            continue
        if await find_live(job.cluster, placed) is None:
            added.append([manifest.api_version, manifest.kind, placed.namespace, placed.name])
    if added:
        content = {"deployment": job.work.deployment.id, "objects": added}
        await job.work.storage.store(STORED, json.dumps(content).encode())


async def _keys_before(job: Job) -> Set[Key]:
    """The objects of the running commit in this cluster: one that moves to it is added to it."""
    source, running = await running_manifests(job.work)
    routes = read_routes(source.config)
    # The targets are compared by name, so any provider will do for the application's own.
    own = Target(name=job.work.deployment.platform_provider, provider=None)
    assignments = assign(running, routes, own, job.work.providers)
    here = [item for item in assignments if item.target.name == job.target.name]
    return {manifest.key for item in here for manifest in item.manifests}


async def was_recorded(work: Work[Any]) -> bool:
    """Whether the deployment added objects to the cluster of `work`."""
    return bool(await _load(work))


async def delete(job: Job) -> None:
    """Delete what the deployment added and still has. A phase of a rollback."""
    found: list[tuple[ResourceType, Object]] = []
    for api_version, kind, namespace, name in await _load(job.work) or ():
        body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        try:
            placed = await place(job.cluster, Manifest(body), namespace or job.namespace)
            live = await find_live(job.cluster, placed)
        except UnknownKind:
            continue
        if live and _was_added(job, live) and may_delete(job, live, placed.type.kind):
            found.append((placed.type, live))
    items = in_order_of_deletion([(Manifest(live), obsolete_of(kind, live)) for kind, live in found])
    for item in items:
        await delete_one(job, item)


def _was_added(job: Job, live: Object) -> bool:
    annotations = live["metadata"].get("annotations") or {}
    commit = job.work.deployment.trigger.commit.hash
    return belongs_to(live, job.application) and annotations.get(COMMIT) == commit


async def _load(work: Work[Any]) -> Any:
    """What this deployment added; None if nothing is recorded."""
    try:
        content = decode_json(await work.storage.load(STORED))
    except (NotFound, Refused):
        return None
    return content["objects"] if content["deployment"] == work.deployment.id else None

"""Deletes an object so that it can be created again, where a field cannot be changed.

The pods of a Deployment stay until those of the new one are ready: only the Deployment is deleted, its
ReplicaSets are labelled, and deleted when everything works. Each step can be repeated.
"""

import asyncio
from collections.abc import Sequence

from pipecd.errors import NotFound, PermissionDenied
from pipecd.platforms.kubernetes.apply import MustRecreate, Placed, find_live
from pipecd.platforms.kubernetes.cluster.api import Object, Propagation
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.mark import PREFIX
from pipecd.platforms.kubernetes.stages.job import Job

#: Label of ReplicaSets whose Deployment was deleted to create it again. Its value is the application's id.
ORPHAN = PREFIX + "orphan"


async def delete(job: Job, placed: Placed, recreate: MustRecreate) -> None:
    """Delete the object with the uid of `recreate`. Returns before it is gone."""
    job.work.log.info(f"{placed}: deleting it to create it again: {recreate.reason}")
    live = await find_live(job.cluster, placed)
    if live is None or live["metadata"]["uid"] != recreate.uid:
        return
    propagation: Propagation = "Background"
    if (placed.type.group, placed.type.kind) == ("apps", "Deployment"):
        propagation = "Orphan"
        await _label_replica_sets(job, live)
    elif (placed.type.group, placed.type.kind) == ("apps", "StatefulSet") and _same_selector(placed, live):
        # The new one adopts the pods, and replaces them one after another.
        propagation = "Orphan"
    try:
        await job.cluster.api.delete(
            placed.type, placed.namespace, placed.name, uid=recreate.uid, propagation=propagation
        )
    except NotFound:
        return


async def find_orphans(job: Job, namespaces: Sequence[str]) -> list[Object]:
    """ReplicaSets of Deployments that were created again, and that the new ones did not adopt."""
    selector = f"{ORPHAN}={job.application}"
    lists = await asyncio.gather(
        *(_replica_sets(job.cluster, namespace, selector) for namespace in dict.fromkeys(namespaces))
    )
    return [live for found in lists for live in found if not live["metadata"].get("ownerReferences")]


async def delete_orphans(job: Job, orphans: Sequence[Object]) -> None:
    for live in orphans:
        metadata = live["metadata"]
        kind = await job.cluster.kinds.find("apps/v1", "ReplicaSet")
        try:
            await job.cluster.api.delete(kind, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        except NotFound:
            continue
        job.work.log.info(f"Deleted the pods of ReplicaSet {metadata['name']}, whose Deployment was replaced")


async def _label_replica_sets(job: Job, live: Object) -> None:
    namespace, uid = live["metadata"]["namespace"], live["metadata"]["uid"]
    kind = await job.cluster.kinds.find("apps/v1", "ReplicaSet")
    for found in await job.cluster.api.list(kind, namespace, metadata_only=True):
        metadata = found["metadata"]
        labels = metadata.get("labels") or {}
        owned = any(owner.get("uid") == uid for owner in metadata.get("ownerReferences") or ())
        if not owned or labels.get(ORPHAN) == job.application:
            continue
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {
                "op": "add",
                "path": f"/metadata/labels/{ORPHAN.replace('/', '~1')}",
                "value": job.application,
            },
        ]
        await job.cluster.api.json_patch(kind, namespace, metadata["name"], operations)


def _same_selector(placed: Placed, live: Object) -> bool:
    return bool(placed.manifest.spec.get("selector") == (live.get("spec") or {}).get("selector"))


async def _replica_sets(cluster: Cluster, namespace: str, selector: str) -> list[Object]:
    try:
        kind = await cluster.kinds.find("apps/v1", "ReplicaSet")
        return await cluster.api.list(kind, namespace, label_selector=selector, metadata_only=True)
    except (NotFound, PermissionDenied, UnknownKind):
        # Without the permission, no Deployment was created again.
        return []

"""Finds the objects of an application in a cluster. Called by pruning and drift detection."""

import structlog

from pipecd.errors import NotFound, Temporary
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.mark import APPLICATION, belongs_to

log = structlog.get_logger()


async def list_owned(
    cluster: Cluster, kind: ResourceType, application: str, provider: Provider | None
) -> list[Object]:
    """The objects of one kind that the application applied, as metadata.

    If the provider names a namespace, the agent may list objects only there. A kind whose own API server is
    down is left out.
    """
    namespace = provider.app_state_informer.namespace if provider else ""
    if namespace and not kind.namespaced:
        return []
    selector = f"{APPLICATION}={application}"
    try:
        live = await cluster.api.list(kind, namespace, label_selector=selector, metadata_only=True)
    except Temporary as error:
        if not await cluster.kinds.is_broken(kind.api_version):
            raise
        log.warning("kind_not_listed", api_version=kind.api_version, kind=kind.kind, error=str(error))
        return []
    return [item for item in live if belongs_to(item, application)]


async def list_live(cluster: Cluster, kind: ResourceType, application: str, namespace: str) -> list[Object]:
    """Whole objects of one kind and namespace with the label of the application, of any writer."""
    return await cluster.api.list(kind, namespace, label_selector=f"{APPLICATION}={application}")


def identity_of(kind: ResourceType, live: Object) -> tuple[str, str, str, str]:
    """The same as `Placed.identity` of the object's manifest."""
    metadata = live["metadata"]
    return kind.group, kind.kind, metadata.get("namespace", ""), metadata["name"]


async def is_same_object(cluster: Cluster, kind: ResourceType, live: Object) -> bool:
    """Whether `cluster` has this very object: two platform providers may be the same cluster."""
    metadata = live["metadata"]
    try:
        found = await cluster.api.get(
            kind, metadata.get("namespace", ""), metadata["name"], metadata_only=True
        )
    except NotFound:
        return False
    return bool(found["metadata"]["uid"] == metadata["uid"])

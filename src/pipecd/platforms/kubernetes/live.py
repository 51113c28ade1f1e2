"""The live state of a Kubernetes application: its objects and what they created, as a tree with health.

`watch_cluster` follows a cluster in the background. `load_live_state` reads what is known, and asks the
cluster only for objects that have no labels, because PipeCD's agent applied them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipecd.errors import PipecdError
from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Health, Resource
from pipecd.platforms.kubernetes.apply import place
from pipecd.platforms.kubernetes.cluster.connection import Cluster, connect
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.seen import Kind, Reference, SeenObject
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import resource_key
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign

#: How long the first lists of a cluster are waited for (seconds). Other applications wait meanwhile.
SYNC_TIMEOUT = 10.0
#: Of one application. The control plane stores no more.
MAX_RESOURCES = 20_000
#: Objects without labels that are read at each check.
MAX_LOOKED_UP = 100


async def watch_cluster(provider: Provider | None, on_change: Callable[[str], None]) -> None:
    """Follows the cluster until cancelled. `on_change` gets the ids of applications that changed."""
    async with connect(provider) as cluster:
        await cluster.follower.run(on_change)


async def load_live_state(request: ObservationRequest) -> Sequence[Resource]:
    """The objects of the application in all its clusters. Raises Temporary during an outage of one."""
    desired: DesiredState = request.desired
    own = Target(name=request.application.platform_provider, provider=request.provider)
    resources: list[Resource] = []
    for assignment in assign(desired.manifests, desired.routes, own, request.providers):
        async with connect(assignment.target.provider) as cluster:
            resources += await _load(cluster, assignment, desired.namespace, request.application.id)
    return resources[:MAX_RESOURCES]


async def _load(
    cluster: Cluster, assignment: Assignment, namespace: str, application: str
) -> Sequence[Resource]:
    kinds = {(manifest.group, manifest.kind) for manifest in assignment.manifests}
    follower = cluster.follower
    follower.want(application, kinds)
    await follower.wait_until_synced(kinds, SYNC_TIMEOUT)
    await _look_up(cluster, assignment.manifests, namespace, application)
    refused = {kind: error for kind in kinds if (error := follower.error_of(kind))}
    shown = to_resources(follower.objects.tree(application), cluster.api.clock.now())
    return [*shown, *_not_shown(assignment.manifests, refused)]


async def _look_up(cluster: Cluster, manifests: Sequence[Manifest], namespace: str, application: str) -> None:
    """Read declared objects that are not known: PipeCD's agent writes annotations, and no labels."""
    objects = cluster.follower.objects
    known = {item.identity for item in objects.of_application(application)}
    known -= cluster.follower.unlabelled.keys()
    looked_up = 0
    for manifest in manifests:
        kind = (manifest.group, manifest.kind)
        if not cluster.follower.is_synced(kind):
            continue
        try:
            placed = await place(cluster, manifest, namespace)
        except PipecdError:
            continue
        if placed.identity not in known and cluster.follower.may_look_up(application, placed.identity):
            await cluster.follower.look_up(placed.type, placed.namespace, placed.name)
            looked_up += 1
            if looked_up == MAX_LOOKED_UP:
                return


def _not_shown(manifests: Sequence[Manifest], refused: Mapping[Kind, PipecdError]) -> Iterable[Resource]:
    """Declared objects of kinds that cannot be followed, for example because a permission is missing."""
    for manifest in manifests:
        error = refused.get((manifest.group, manifest.kind))
        if error is not None and not isinstance(error, UnknownKind):
            yield Resource(
                id=resource_key(manifest),
                api_version=manifest.api_version,
                kind=manifest.kind,
                namespace=manifest.namespace,
                name=manifest.name,
                health=Health.UNKNOWN,
                health_reason=f"It cannot be watched: {error}",
            )


def to_resources(seen: Sequence[SeenObject], now: float) -> Sequence[Resource]:
    """The resources of objects, sorted by kind and name, with their owners and what refers to them.

    Their health is that of the time `now` (epoch seconds).
    """
    uids = {item.uid for item in seen}
    related = _related(seen)
    ordered = sorted(seen, key=lambda item: (item.kind, item.namespace, item.name))
    return [
        Resource(
            id=item.uid,
            api_version=item.api_version,
            kind=item.kind,
            namespace=item.namespace,
            name=item.name,
            parents=[owner for owner in item.owners if owner in uids],
            related=related.get(item.uid, ()),
            health=health,
            health_reason=reason,
            created_at=item.created_at,
            updated_at=item.updated_at,
        )
        for item in ordered
        for health, reason in [item.health_at(now)]
    ]


def _related(seen: Sequence[SeenObject]) -> Mapping[str, Sequence[str]]:
    """For each object: those that refer to it, such as the Service that selects a pod."""
    by_name: dict[tuple[str, str, str], list[SeenObject]] = defaultdict(list)
    by_kind: dict[tuple[str, Kind], list[SeenObject]] = defaultdict(list)
    for item in seen:
        by_name[item.kind, item.namespace, item.name].append(item)
        by_kind[item.namespace, (item.group, item.kind)].append(item)
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for item in seen:
        for link in item.links:
            if isinstance(link, Reference):
                others = by_name[link.kind, link.namespace or item.namespace, link.name]
                for other in (other for other in others if other.group == link.group):
                    above, below = (other, item) if link.upwards else (item, other)
                    found[below.uid][above.uid] = None
            else:
                for kind in link.kinds:
                    for other in by_kind[item.namespace, kind]:
                        if link.matches(other.labels):
                            found[other.uid][item.uid] = None
    return {uid: list(above) for uid, above in found.items()}

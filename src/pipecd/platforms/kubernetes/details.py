"""Details of one object, for a user who opened it: the object, its manifest, the difference, and its events.

`find_object` admits only objects of the application. What cannot be read is a note. `logs` follows the log of
a container.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from pipecd.errors import NotFound, PipecdError
from pipecd.json_input import decode_json
from pipecd.model.details import Container, DetailsRequest, ResourceDetails, ResourceEvent
from pipecd.model.drift import Redact, diff_trees, mask_values
from pipecd.platforms.kubernetes.apply import Placed, place
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster, connect
from pipecd.platforms.kubernetes.cluster.rate_limit import Priority, requests_with
from pipecd.platforms.kubernetes.cluster.seen import SeenObject
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.drift import compare_object
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.mark import resource_key
from pipecd.platforms.kubernetes.prepare import prepare
from pipecd.platforms.kubernetes.secret import without_values
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign

#: Contains a copy of the object, with its secrets.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: Events of one object that are read, and shown.
_MAX_READ_EVENTS, _MAX_EVENTS = 500, 50
#: Objects above this size are not shown (characters of JSON): those in etcd are smaller.
_MAX_SIZE = 3_000_000
_MAX_TEXT = 1000
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, kw_only=True)
class FoundObject:
    """An object of the application. `placed` is its manifest, if the files declare it."""

    cluster: Cluster
    type: ResourceType
    namespace: str
    name: str
    #: Empty for a declared object that was not seen.
    uid: str = ""
    seen: SeenObject | None = None
    placed: Placed | None = None

    def __str__(self) -> str:
        return f"{self.type.kind} {self.name}" + (f" in {self.namespace}" if self.namespace else "")


@asynccontextmanager
async def find_object(request: DetailsRequest) -> AsyncIterator[FoundObject]:
    """Raises NotFound unless the id is that of an object of the application."""
    observation = request.observation
    desired: DesiredState = observation.desired
    own = Target(name=observation.application.platform_provider, provider=observation.provider)
    for assignment in assign(desired.manifests, desired.routes, own, observation.providers):
        async with connect(assignment.target.provider) as cluster:
            if found := await _find(cluster, assignment, request):
                yield found
                return
    raise NotFound("the resource is gone, or does not belong to the application")


async def _find(cluster: Cluster, assignment: Assignment, request: DetailsRequest) -> FoundObject | None:
    desired: DesiredState = request.observation.desired
    objects, application = cluster.follower.objects, request.observation.application.id
    manifests = prepare(assignment.manifests, desired.variant if desired.adds_variant_label else None)
    seen = objects.get(request.resource_id)
    if seen is not None and objects.belongs_to(seen.uid, application):
        return FoundObject(
            cluster=cluster,
            type=await cluster.kinds.find(seen.api_version, seen.kind),
            namespace=seen.namespace,
            name=seen.name,
            uid=seen.uid,
            seen=seen,
            placed=await _find_manifest(cluster, manifests, seen, desired.namespace),
        )
    # Live states contain declared objects of kinds that cannot be followed.
    for manifest in manifests:
        if resource_key(manifest) == request.resource_id:
            placed = await place(cluster, manifest, desired.namespace)
            return FoundObject(
                cluster=cluster,
                type=placed.type,
                namespace=placed.namespace,
                name=placed.name,
                placed=placed,
            )
    return None


async def _find_manifest(
    cluster: Cluster, manifests: Sequence[Manifest], seen: SeenObject, namespace: str
) -> Placed | None:
    for manifest in manifests:
        if (manifest.kind, manifest.name) == (seen.kind, seen.name):
            placed = await place(cluster, manifest, namespace)
            if placed.identity == seen.identity:
                return placed
    return None


async def load_details(request: DetailsRequest) -> ResourceDetails:
    """Raises NotFound."""
    notes: list[str] = []
    with requests_with(Priority.LIVE_STATE):
        async with find_object(request) as found:
            live, events = await asyncio.gather(_read_live(found, notes), _read_events(found, notes))
            difference = await _compare(found, live, request, notes)
    git = found.placed.manifest.body if found.placed else None
    return await asyncio.to_thread(_build, live, git, events, difference, notes, request.observation.redact)


async def _read_live(found: FoundObject, notes: list[str]) -> Object | None:
    """None if it does not exist any more, or cannot be read."""
    try:
        live = await found.cluster.api.get(found.type, found.namespace, found.name)
    except NotFound:
        return None
    except PipecdError as error:
        notes.append(f"The object cannot be read: {error}")
        return None
    if found.uid and live["metadata"].get("uid") != found.uid:
        # Another object of that name, which may be another application's.
        return None
    return live


async def _read_events(found: FoundObject, notes: list[str]) -> Sequence[ResourceEvent]:
    if not found.uid:
        return ()
    try:
        kind = await found.cluster.kinds.find("v1", "Event")
        answer = await found.cluster.api.get_json(
            kind.path(found.namespace or DEFAULT_NAMESPACE),
            {"fieldSelector": f"involvedObject.uid={found.uid}", "limit": str(_MAX_READ_EVENTS)},
        )
    except PipecdError as error:
        notes.append(f"The events cannot be read: {error}")
        return ()
    events = [_to_event(item) for item in answer.get("items") or () if isinstance(item, Mapping)]
    return sorted(events, key=lambda event: event.last_at, reverse=True)[:_MAX_EVENTS]


async def _compare(
    found: FoundObject, live: Object | None, request: DetailsRequest, notes: list[str]
) -> tuple[Any, Any] | None:
    """The object now and after a sync; None if they are equal, or Git does not declare it."""
    if found.placed is None:
        return None
    seen, version = found.seen, live["metadata"].get("resourceVersion") if live else ""
    if seen and seen.resource_version != version:
        # The watch has not reported the newest change yet.
        seen = None
    try:
        compared = await compare_object(found.cluster, found.placed, seen, request.observation)
    except PipecdError as error:
        notes.append(f"The object cannot be compared with Git: {error}")
        return None
    # Written to be shown beside the object's name.
    notes += [f"{pair.title}: {pair.note}" for pair in compared.pairs if pair.note]
    notes += compared.notes
    return next(((pair.running, pair.git) for pair in compared.pairs), None)


def _build(
    live: Object | None,
    git: Mapping[str, Any] | None,
    events: Sequence[ResourceEvent],
    difference: tuple[Any, Any] | None,
    notes: Sequence[str],
    redact: Redact,
) -> ResourceDetails:
    return ResourceDetails(
        live=_to_yaml(presentable(live, redact)) if live else "",
        git=_to_yaml(presentable(git, redact)) if git else "",
        difference="\n".join(diff_trees(*difference, redact)) if difference else "",
        events=events,
        containers=_containers(live) if live and live.get("kind") == "Pod" else (),
        notes=notes,
    )


def presentable(body: Mapping[str, Any], redact: Redact) -> Any:
    """The object without secrets, and without what only the server needs."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if isinstance(annotations, Mapping):
        metadata["annotations"] = {
            key: _presentable_annotation(value, redact)
            for key, value in annotations.items()
            if key != LAST_APPLIED
        }
    shown = without_values({**body, "metadata": metadata})
    return mask_values(shown, shown, redact)[1]


def _presentable_annotation(value: Any, redact: Redact) -> Any:
    """Some programs write a copy of the object into an annotation."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        tree = decode_json(value)
    except ValueError:
        return value
    shown = without_values(tree) if isinstance(tree, Mapping) else tree
    masked = mask_values(shown, shown, redact)[1]
    return value if masked == tree else json.dumps(masked)


def _to_yaml(body: Any) -> str:
    # Through JSON, because anchors of a file would be written as such, and to know the size.
    text = json.dumps(body, default=str)
    if len(text) > _MAX_SIZE:
        return f"# The object is too large to be shown: {len(text)} characters\n"
    dumped: str = yaml.dump(decode_json(text), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return dumped


def _to_event(item: Mapping[str, Any]) -> ResourceEvent:
    series = item.get("series") or {}
    source = (item.get("source") or {}).get("component") or item.get("reportingComponent")
    count = series.get("count") or item.get("count")
    first = item.get("firstTimestamp") or item.get("eventTime") or item["metadata"].get("creationTimestamp")
    return ResourceEvent(
        reason=str(item.get("reason") or "")[:_MAX_TEXT],
        message=str(item.get("message") or item.get("note") or "")[:_MAX_TEXT],
        warning=item.get("type") == "Warning",
        source=str(source or "")[:_MAX_TEXT],
        count=count if isinstance(count, int) else 1,
        first_at=_epoch(first),
        last_at=_epoch(series.get("lastObservedTime") or item.get("lastTimestamp") or first),
    )


def _epoch(time: Any) -> int:
    try:
        return int(datetime.fromisoformat(str(time)).timestamp())
    except ValueError:
        return 0


def _containers(pod: Object) -> Sequence[Container]:
    """Those of its spec, with their states. Init containers, and those for debugging, come last."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    states = {
        state["name"]: state
        for name in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        for state in status.get(name) or ()
    }
    return [
        Container(
            name=container["name"],
            state=_state(states.get(container["name"], {})),
            init=name == "initContainers",
            restarts=int(states.get(container["name"], {}).get("restartCount") or 0),
        )
        for name in ("containers", "initContainers", "ephemeralContainers")
        for container in spec.get(name) or ()
    ]


def _state(status: Mapping[str, Any]) -> str:
    for name in ("running", "waiting", "terminated"):
        state = (status.get("state") or {}).get(name)
        if state is not None:
            reason = str(state.get("reason") or "")[:_MAX_TEXT]
            return f"{name}: {reason}" if reason else name
    return ""

"""Drift of a Kubernetes application: what a sync would change, as the server answers.

Each object is compared with the answer of a dry run of applying it. Both are complete objects of the server,
so defaults, quantities, webhooks and fields of others need no rules here. The dry run is left out for an
object whose version and manifest are those of an earlier comparison without a difference.
"""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from pipecd.errors import NotFound, Refused
from pipecd.model.application import Application
from pipecd.model.drift import Drift, Pair, compare
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.kubernetes.apply import MustRecreate, Placed, apply, find_live, place
from pipecd.platforms.kubernetes.cluster.connection import Cluster, connect
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import COMMIT, PREFIX, Marks, resource_key
from pipecd.platforms.kubernetes.normal import SERVER_METADATA
from pipecd.platforms.kubernetes.owned import identity_of, is_same_object, list_owned
from pipecd.platforms.kubernetes.prepare import prepare
from pipecd.platforms.kubernetes.secret import without_values
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign

IGNORE = "pipecd.dev/ignore-drift-detection"
#: Objects of one application that are compared at the same time.
_CONCURRENT = 4
#: Comparisons without a difference: uid → version of the object and digest of the manifest.
_MAX_REMEMBERED = 50_000
_same: OrderedDict[str, tuple[str, str]] = OrderedDict()
_SERVER_ANNOTATIONS = frozenset(
    {"deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"}
)


async def detect_drift(request: ObservationRequest) -> Drift:
    """Changes nothing. Raises UserError if the cluster cannot be asked."""
    desired: DesiredState = request.desired
    own = Target(name=request.application.platform_provider, provider=request.provider)
    assignments = assign(desired.manifests, desired.routes, own, request.providers)
    async with AsyncExitStack() as stack:
        sides = [
            _Side(
                request=request,
                assignment=assignment,
                cluster=await stack.enter_async_context(connect(assignment.target.provider)),
                name=str(assignment.target) if len(assignments) > 1 else "",
            )
            for assignment in assignments
        ]
        found = await asyncio.gather(*(side.compare() for side in sides))
        not_declared = [pair for side in sides for pair in await side.not_declared(sides)]
    differing = [*(pair for pairs in found for pair in pairs), *not_declared]
    return compare(differing, request.ignored, request.redact, exact=True)


@dataclass(kw_only=True)
class _Side:
    """The objects of one cluster. `name` is empty if the application has no other one."""

    request: ObservationRequest
    assignment: Assignment
    cluster: Cluster
    name: str
    declared: set[tuple[str, ...]] = field(default_factory=set)
    kinds: dict[tuple[str, str], ResourceType] = field(default_factory=dict)

    async def compare(self) -> Sequence[Pair]:
        """Declared objects that differ."""
        desired: DesiredState = self.request.desired
        variant = desired.variant if desired.adds_variant_label else None
        pairs: list[Pair | Placed] = []
        for manifest in prepare(self.assignment.manifests, variant):
            if manifest.annotations.get(IGNORE) == "true":
                continue
            try:
                placed = await place(self.cluster, manifest, desired.namespace)
            except UnknownKind:
                pairs.append(Pair(key=resource_key(manifest), running=None, git=manifest.body))
                continue
            self.declared.add(placed.identity)
            self.kinds[placed.type.group, placed.type.kind] = placed.type
            pairs.append(placed)
        semaphore = asyncio.Semaphore(_CONCURRENT)

        async def compared(item: Pair | Placed) -> Pair | None:
            if isinstance(item, Pair):
                return item
            async with semaphore:
                return await _compare(self.cluster, item, self.request.application, desired.variant)

        found = await asyncio.gather(*map(compared, pairs))
        return [replace(pair, cluster=self.name) for pair in found if pair]

    async def not_declared(self, sides: Sequence["_Side"]) -> Sequence[Pair]:
        """Objects of the application that are not in Git, of the kinds that are."""
        request, provider = self.request, self.assignment.target.provider
        pairs = []
        for kind in self.kinds.values():
            for live in await list_owned(self.cluster, kind, request.application.id, provider):
                found, identity = Manifest(live), identity_of(kind, live)
                if identity in self.declared or found.annotations.get(IGNORE) == "true":
                    continue
                others = [side for side in sides if side is not self and identity in side.declared]
                if not any([await is_same_object(side.cluster, kind, live) for side in others]):
                    pairs.append(
                        Pair(key=resource_key(found), running=_comparable(live), git=None, cluster=self.name)
                    )
        return pairs


async def _compare(
    cluster: Cluster, placed: Placed, application: Application, variant: tuple[str, str]
) -> Pair | None:
    """The object as it is and as a sync would leave it; None if they are known to be equal."""
    key = resource_key(placed.manifest)
    live = await find_live(cluster, placed)
    if live is None:
        return Pair(key=key, running=None, git=_comparable(placed.manifest.body))
    metadata = live["metadata"]
    if (metadata.get("annotations") or {}).get(IGNORE) == "true":
        return None
    state = (str(metadata["resourceVersion"]), _digest(placed.manifest))
    if _same.get(metadata["uid"]) == state:
        _same.move_to_end(metadata["uid"])
        return None
    # As a sync of the same commit would send it.
    commit = (metadata.get("annotations") or {}).get(COMMIT, "")
    marks = Marks(piped=application.piped_id, application=application.id, commit=commit, variant=variant)
    marked = Placed(manifest=marks.mark(placed.manifest), type=placed.type)
    try:
        wanted = await apply(cluster, marked, application.id, lambda _: None, known=live, dry_run=True)
    except (Refused, NotFound) as error:
        # A sync would fail; that it would change something is all that is known.
        return Pair(key=key, running={"sync": "possible"}, git={"sync": str(error)})
    if isinstance(wanted, MustRecreate):
        return Pair(key=key, running=_comparable(live), git=_comparable(placed.manifest.body))
    pair = Pair(key=key, running=_comparable(live), git=_comparable(wanted))
    if pair.running == pair.git:
        _same[metadata["uid"]] = state
        while len(_same) > _MAX_REMEMBERED:
            _same.popitem(last=False)
        return None
    return pair


def _comparable(live: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the server keeps, and what every sync writes."""
    body = {key: value for key, value in live.items() if key != "status"}
    metadata = {key: value for key, value in live["metadata"].items() if key not in SERVER_METADATA}
    for name in ("annotations", "labels"):
        kept = {
            key: value
            for key, value in (metadata.pop(name, None) or {}).items()
            if not key.startswith(PREFIX) and key not in _SERVER_ANNOTATIONS
        }
        if kept:
            metadata[name] = kept
    body["metadata"] = metadata
    return without_values(body)


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest.body, sort_keys=True).encode()).hexdigest()

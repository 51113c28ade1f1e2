"""Drift of a Kubernetes application: what a sync would change, as the server answers.

`effect` compares one object. That is left out for an object whose content and manifest are those of an
earlier comparison without a difference. Where the cluster is followed, no request is needed to know that;
otherwise the object is read. Fields that people added beside those in Git are listed, and are
drift only if the application says so.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from pipecd.errors import NotFound, Refused
from pipecd.model.drift import Addition, Drift, Pair, compare
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.kubernetes.apply import Placed, find_live, place
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster, connect
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.rate_limit import Priority, requests_with
from pipecd.platforms.kubernetes.cluster.seen import Identity, Kind, SeenObject
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.compared import Compared, comparisons, digest_of
from pipecd.platforms.kubernetes.effect import Effect, comparable, determine_effect
from pipecd.platforms.kubernetes.field_rules import FieldRules
from pipecd.platforms.kubernetes.hooks import runs
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import COMMIT, Marks, belongs_to, check_owner, resource_key
from pipecd.platforms.kubernetes.owned import identity_of, is_same_object, list_owned
from pipecd.platforms.kubernetes.prepare import prepare
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign

IGNORE = "pipecd.dev/ignore-drift-detection"
#: Objects of one application that are compared at the same time.
_CONCURRENT = 4
#: Said of objects of canaries and baselines, of which so many are named.
_LEFT, _MAX_NAMED = "a canary or baseline of a former deployment is left", 10


@dataclass(kw_only=True)
class _Found:
    """What was found so far."""

    pairs: list[Pair] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    #: Objects that could be compared less exactly only, with the reason.
    notes: list[str] = field(default_factory=list)
    #: Objects of canaries and baselines, which no deployment has while drift is detected.
    left: list[str] = field(default_factory=list)

    def add(self, other: "_Found", cluster: str = "") -> None:
        """`cluster` is named in messages, if the application has several."""
        self.pairs += [replace(pair, cluster=cluster) for pair in other.pairs]
        self.additions += [replace(addition, cluster=cluster) for addition in other.additions]
        self.notes += [f"{note} ({cluster})" if cluster else note for note in other.notes]
        self.left += [f"{name} ({cluster})" if cluster else name for name in other.left]


async def detect_drift(request: ObservationRequest) -> Drift:
    """Changes nothing. Raises UserError if the cluster cannot be asked."""
    desired: DesiredState = request.desired
    own = Target(name=request.application.platform_provider, provider=request.provider)
    assignments = assign(desired.manifests, desired.routes, own, request.providers)
    found = _Found()
    with requests_with(Priority.DRIFT):
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
            for side, of_side in zip(
                sides, await asyncio.gather(*(side.compare() for side in sides)), strict=True
            ):
                found.add(of_side, side.name)
            for side in sides:
                found.add(await side.not_declared(sides), side.name)
    drift = await asyncio.to_thread(
        compare,
        found.pairs,
        request.ignored,
        request.redact,
        additions=found.additions,
        notes=[*found.notes, *_left_variants(found.left)],
    )
    return replace(drift, summary=f"{drift.summary}; {_LEFT}") if found.left else drift


def _left_variants(names: Sequence[str]) -> Sequence[str]:
    """Not drift: a sync without pruning would change nothing about it."""
    if not names:
        return ()
    listed = ", ".join(name[:320] for name in names[:_MAX_NAMED])
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return (f"{_LEFT}: {listed}{more}. End the pipeline with a CLEAN stage; a sync with prune deletes them.",)


@dataclass(kw_only=True)
class _Side:
    """The objects of one cluster. `name` is empty if the application has no other one."""

    request: ObservationRequest
    assignment: Assignment
    cluster: Cluster
    name: str
    declared: set[tuple[str, ...]] = field(default_factory=set)
    kinds: dict[Kind, ResourceType] = field(default_factory=dict)
    #: The application's objects of the kinds that are followed.
    seen: dict[Identity, SeenObject] = field(default_factory=dict)

    async def compare(self) -> _Found:
        """Declared objects."""
        desired: DesiredState = self.request.desired
        variant = desired.variant if desired.adds_variant_label else None
        found, placed_objects = _Found(), []
        for manifest in prepare(self.assignment.manifests, variant):
            is_compared = manifest.annotations.get(IGNORE) != "true"
            try:
                placed = await place(self.cluster, manifest, desired.namespace)
            except UnknownKind as error:
                if is_compared:
                    key = resource_key(manifest)
                    found.pairs.append(Pair(key=key, running=None, git=manifest.body, note=str(error)))
                continue
            self.declared.add(placed.identity)
            self.kinds[placed.type.group, placed.type.kind] = placed.type
            if is_compared:
                placed_objects.append(placed)
        for applied in (*desired.generated, *(hook for hook in desired.hooks if not runs(hook))):
            with contextlib.suppress(UnknownKind):
                self.declared.add((await place(self.cluster, applied, desired.namespace)).identity)
        follower = self.cluster.follower
        follower.want(self.request.application.id, self.kinds)
        self.seen = {
            item.identity: item
            for item in follower.objects.of_application(self.request.application.id)
            if self.is_followed((item.group, item.kind))
        }
        semaphore = asyncio.Semaphore(_CONCURRENT)

        async def compare_one(placed: Placed) -> _Found:
            async with semaphore:
                return await compare_object(
                    self.cluster, placed, self.seen.get(placed.identity), self.request
                )

        for of_object in await asyncio.gather(*map(compare_one, placed_objects)):
            found.add(of_object)
        return found

    def is_followed(self, kind: Kind) -> bool:
        return self.cluster.follower.running and self.cluster.follower.is_synced(kind)

    async def _owned(self, kind: ResourceType) -> Sequence[Object]:
        """The application's objects of one kind, as metadata; of a followed kind, only those not in Git."""
        application, provider = self.request.application.id, self.assignment.target.provider
        if not self.is_followed((kind.group, kind.kind)):
            return await list_owned(self.cluster, kind, application, provider)
        found = []
        for item in self.seen.values():
            if (item.group, item.kind) == (kind.group, kind.kind) and item.identity not in self.declared:
                with contextlib.suppress(NotFound):
                    live = await self.cluster.api.get(kind, item.namespace, item.name, metadata_only=True)
                    found.append(live)
        return [live for live in found if belongs_to(live, application)]

    async def not_declared(self, sides: Sequence["_Side"]) -> _Found:
        """Objects of the application that are not in Git, of the kinds that are."""
        variant, primary = self.request.desired.variant
        result = _Found()
        for kind in self.kinds.values():
            for live in await self._owned(kind):
                found, identity = Manifest(live), identity_of(kind, live)
                if identity in self.declared or found.annotations.get(IGNORE) == "true":
                    continue
                # Other variants are not in Git, but made from what is.
                if found.annotations.get(variant, primary) != primary:
                    result.left.append(str(found))
                    continue
                others = [side for side in sides if side is not self and identity in side.declared]
                if not any([await is_same_object(side.cluster, kind, live) for side in others]):
                    result.pairs.append(Pair(key=resource_key(found), running=comparable(live), git=None))
        return result


async def compare_object(
    cluster: Cluster, placed: Placed, seen: SeenObject | None, request: ObservationRequest
) -> _Found:
    """The object as it is and as a sync would leave it; nothing if they are known to be equal."""
    desired: DesiredState = request.desired
    rules = FieldRules(ignored=request.ignored, strict=desired.strict)
    digest = digest_of(placed.manifest, rules)
    if seen and (known := comparisons.find(seen.uid, seen.content, digest)):
        return _Found(additions=list(known.additions))
    key, live = resource_key(placed.manifest), await find_live(cluster, placed)
    if live is None:
        return _Found(pairs=[Pair(key=key, running=None, git=placed.manifest.body)])
    metadata = live["metadata"]
    if (metadata.get("annotations") or {}).get(IGNORE) == "true":
        return _Found()
    try:
        check_owner(live, placed.manifest, request.application.id)
    except Refused as error:
        return _Found(pairs=[Pair(key=key, running=None, git=placed.manifest.body, note=error.what)])
    version = str(metadata["resourceVersion"])
    # The content stays the same when the status changes, the version does not.
    is_as_seen = seen and (seen.uid, seen.resource_version) == (metadata["uid"], version)
    content = seen.content if seen and is_as_seen else version
    if known := comparisons.find(metadata["uid"], content, digest):
        return _Found(additions=list(known.additions))
    marked = replace(placed, manifest=_marks(request, live).mark(placed.manifest))
    effect = await determine_effect(cluster, marked, live, request.application.id, rules)
    if effect.live is None:
        return _Found(pairs=[Pair(key=key, running=None, git=placed.manifest.body)])
    if effect.live == effect.wanted and effect.exact:
        comparisons.add(metadata["uid"], Compared(content, digest, effect.additions))
        return _Found(additions=list(effect.additions))
    pair = Pair(
        key=key,
        running=effect.live,
        git=effect.wanted,
        exact=effect.exact,
        note=_note(effect),
        changed_by=list(dict.fromkeys(owner.manager for owner in effect.changed_by)),
    )
    note = f"{pair.title} was compared with its manifest: {effect.refused or effect.unchecked}"
    inexact = effect.refused or effect.unchecked
    return _Found(pairs=[pair], additions=list(effect.additions), notes=[note] if inexact else [])


def _marks(request: ObservationRequest, live: Object) -> Marks:
    """As a sync of the commit that is deployed would write them."""
    application = request.application
    return Marks(
        piped=application.piped_id,
        application=application.id,
        commit=(live["metadata"].get("annotations") or {}).get(COMMIT, ""),
        variant=request.desired.variant,
    )


def _note(effect: Effect) -> str:
    """Who changed the object, or what a sync would do besides changing it."""
    if effect.refused:
        return f"a sync would be refused: {effect.refused}"
    if effect.recreated:
        return f"a sync would delete and create it again: {effect.recreated}"
    return f"changed by {', '.join(map(str, effect.changed_by))}" if effect.changed_by else ""

"""Follows the objects of one cluster by watches, one connection for each kind, and keeps records of them.

Only kinds that are wanted are followed: those that the cluster's applications declare, what these create
(ReplicaSets, Pods, Jobs), and what the provider includes. Declared kinds are followed by the label of their
marks. Kinds whose health is not in their content are read without content, so that no Secret is in memory.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pipecd.bounded_dict import BoundedDict
from pipecd.clock import timeout
from pipecd.errors import NotFound, PermissionDenied, PipecdError, Temporary, Unauthenticated
from pipecd.platforms.kubernetes.cluster.api import ApiClient, Object
from pipecd.platforms.kubernetes.cluster.discovery import MAX_AGE, MIN_AGE, Discovery, UnknownKind
from pipecd.platforms.kubernetes.cluster.seen import Identity, Kind, SeenObject, SeenObjects
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.cluster.watch import (
    Deleted,
    Event,
    Interrupted,
    Listing,
    Resumed,
    Seen,
    Synced,
    watch,
)
from pipecd.platforms.kubernetes.mark import APPLICATION
from pipecd.platforms.kubernetes.metrics import EVENTS
from pipecd.platforms.kubernetes.settings import FollowSettings

log = structlog.get_logger()

#: Created by the objects of applications, or by what these create.
CHILD_KINDS = frozenset({("apps", "ReplicaSet"), ("", "Pod"), ("batch", "Job")})
#: A kind that the cluster does not have, or may not be watched, is tried again after this time (seconds).
RETRY_INTERVAL = 60.0
#: What objects create is listed after them, so that their owners are known: at the latest after (seconds).
_CHILDREN_DELAY = 10.0
#: An application that was not asked about for this long does not exist any more (seconds).
WANTED_FOR = 3600.0
#: Deleted objects that are remembered, because a list may still contain them.
_MAX_DELETED = 2_000
#: An object without labels is read at most this often (seconds).
LOOK_UP_INTERVAL = 30.0
_MAX_LOOKED_UP = 20_000

OnChange = Callable[[str], None]


class Reduce(Protocol):
    """Makes records of objects."""

    def __call__(self, kind: ResourceType, live: Object) -> SeenObject:
        """The record of an object of the kind."""

    def needs_content(self, kind: ResourceType) -> bool:
        """Whether the record contains more than what is in the object's metadata."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is followed, besides the kinds of applications: pairs of a group and a kind, empty for any.

    With a namespace, only its objects are followed, and nothing that has no namespace.
    """

    namespace: str = ""
    included: Collection[Kind] = ()
    excluded: Collection[Kind] = ()

    def excludes(self, kind: Kind) -> bool:
        return kind in self.excluded or (kind[0], "") in self.excluded


@dataclass(kw_only=True)
class _Followed:
    """A kind. `type` is None if the cluster does not have it."""

    type: ResourceType | None = None
    synced: bool = False
    #: Why it is not in sync.
    error: PipecdError | None = None
    #: Set when the kind was listed for the first time, or cannot be.
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    #: The objects of the list that is being read.
    listed: set[str] | None = None
    task: asyncio.Task[None] | None = None

    def set_synced(self) -> None:
        self.synced, self.error = True, None
        self.decided.set()

    def set_failed(self, error: PipecdError) -> None:
        self.synced, self.error = False, error
        self.decided.set()


class Follower:
    """Created with the connection to a cluster. Follows while `run` runs."""

    def __init__(
        self,
        api: ApiClient,
        kinds: Discovery,
        reduce: Reduce,
        scope: Scope,
        settings: FollowSettings = FollowSettings(),
    ) -> None:
        self._api, self._kinds, self._reduce, self._scope = api, kinds, reduce, scope
        self._settings = settings
        self.objects = SeenObjects(self._on_change, max_unclaimed=settings.max_unclaimed)
        self._followed: dict[Kind, _Followed] = {}
        #: Kinds by application, and when it was last asked about (monotonic seconds).
        self._wanted: dict[str, tuple[float, frozenset[Kind]]] = {}
        self._subscribers: list[OnChange] = []
        self._lock, self._wake = asyncio.Lock(), asyncio.Event()
        self._running = False
        #: Applications that changed while lists are read, and whether such a change is being made.
        self._held: set[str] = set()
        self._holding = False
        #: Marked objects that the watches do not report, and their uids.
        self.unlabelled: dict[Identity, str] = {}
        #: When objects were read one by one (monotonic seconds).
        self._looked_up = BoundedDict[tuple[str, ...], float](_MAX_LOOKED_UP)
        self._deleted = BoundedDict[str, None](_MAX_DELETED)
        self._to_list: set[str] = set()
        #: When the health of objects changes that do not change (epoch seconds).
        self._due: dict[str, float] = {}

    @property
    def running(self) -> bool:
        return self._running

    def want(self, application: str, kinds: Iterable[Kind]) -> None:
        """Follow the kinds of an application, which are groups and kinds, and what their objects create."""
        wanted = frozenset(kind for kind in kinds if not self._scope.excludes(kind))
        _, before = self._wanted.get(application, (0.0, frozenset()))
        self._wanted[application] = (self._api.clock.monotonic(), wanted)
        unknown = any(isinstance(self.error_of(kind), UnknownKind) for kind in wanted)
        if unknown or not wanted <= before:
            self._wake.set()

    def is_synced(self, kind: Kind) -> bool:
        """Whether all marked objects of the kind are known, as they are now."""
        found = self._followed.get(kind)
        return found is not None and found.synced

    def error_of(self, kind: Kind) -> PipecdError | None:
        """Why the kind cannot be followed now."""
        found = self._followed.get(kind)
        return found.error if found else None

    def may_look_up(self, application: str, identity: Identity) -> bool:
        """Whether the object may be read now: one that does not exist is not read at every check."""
        now, key = self._api.clock.monotonic(), (application, *identity)
        if now - self._looked_up.get(key, -LOOK_UP_INTERVAL) < LOOK_UP_INTERVAL:
            return False
        self._looked_up[key] = now
        return True

    async def look_up(self, kind: ResourceType, namespace: str, name: str) -> None:
        """Read an object that may have the marks of an application as annotations alone."""
        identity = (kind.group, kind.kind, namespace, name)
        try:
            metadata_only = not self._reduce.needs_content(kind)
            live = await self._api.get(kind, namespace, name, metadata_only=metadata_only)
        except (NotFound, PermissionDenied):
            if uid := self.unlabelled.pop(identity, None):
                self.objects.remove(uid)
            return
        self._put(kind, live)
        if APPLICATION in (live["metadata"].get("labels") or {}):
            self.unlabelled.pop(identity, None)
        else:
            self.unlabelled[identity] = str(live["metadata"]["uid"])

    async def wait_until_synced(self, kinds: Collection[Kind], seconds: float) -> None:
        """Returns when all kinds were listed, except for those that cannot be. Raises Temporary."""
        wanted = [kind for kind in {*kinds, *self._children()} if not self._scope.excludes(kind)]
        with suppress(TimeoutError):
            async with timeout(self._api.clock, seconds):
                while any(kind not in self._followed for kind in wanted):
                    await self._api.clock.sleep(0.05)
                for kind in wanted:
                    if followed := self._followed.get(kind):
                        await followed.decided.wait()
        for kind in wanted:
            error = self.error_of(kind)
            if isinstance(error, Temporary):
                raise error
            if error is None and not self.is_synced(kind):
                raise Temporary(f"{self._api.name}: objects of the kind {kind[1]} are not listed yet")

    async def run(self, on_change: OnChange) -> None:
        """Runs until cancelled. `on_change` is called with the ids of applications that changed."""
        self._subscribers.append(on_change)
        try:
            # Two providers may name the same cluster: one of them follows it for both.
            async with self._lock:
                try:
                    self._running = True
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._list_requested(), name="list created objects")
                        tasks.create_task(self._announce_due(), name="announce changes of health")
                        while True:
                            self._wake.clear()
                            await self._update(tasks)
                            await self._wait()
                finally:
                    self._running = False
                    self._followed.clear()
                    self.objects.clear()
                    self.unlabelled.clear()
                    self._looked_up.clear()
                    self._due.clear()
        finally:
            self._subscribers.remove(on_change)

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with timeout(self._api.clock, RETRY_INTERVAL):
                await self._wake.wait()

    def _children(self) -> Collection[Kind]:
        return CHILD_KINDS if self._wanted else ()

    async def _update(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is wanted, and end what no application wants any more."""
        now = self._api.clock.monotonic()
        self._wanted = {
            application: (at, kinds)
            for application, (at, kinds) in self._wanted.items()
            if now - at < WANTED_FOR
        }
        declared = {kind for _, kinds in self._wanted.values() for kind in kinds}
        wanted = declared | {kind for kind in self._children() if not self._scope.excludes(kind)}
        missing = {kind for kind in wanted if kind not in self._followed or self._followed[kind].task is None}
        included = [kind for kind in self._scope.included if self._wanted]
        for kind in [*self._followed]:
            if kind not in wanted and kind not in included and (kind[0], "") not in included:
                self._end(kind)
        if not missing and not included:
            return
        try:
            types = await self._types(missing)
        except PipecdError as error:
            for kind in missing:
                self._followed.setdefault(kind, _Followed()).set_failed(error)
            log.info("kinds_not_discovered", cluster=self._api.name, error=str(error))
            tasks.create_task(self._retry_soon(), name="retry discovery")
            return
        whole = {
            kind
            for kind in types
            if (kind in included or (kind[0], "") in included) and not self._scope.excludes(kind)
        }
        for kind in sorted(missing | whole):
            self._start(tasks, kind, types.get(kind), marked=kind not in CHILD_KINDS | whole)

    async def _retry_soon(self) -> None:
        await self._api.clock.sleep(5.0)
        self._wake.set()

    async def _types(self, missing: Collection[Kind]) -> Mapping[Kind, ResourceType]:
        """The version that the server prefers of each kind that can be followed."""
        for max_age in (MAX_AGE, MIN_AGE):
            await self._kinds.refresh(max_age=max_age)
            types: dict[Kind, ResourceType] = {}
            for found in await self._kinds.types():
                if {"list", "watch"} <= found.verbs:
                    types.setdefault((found.group, found.kind), found)
            if all(kind in types for kind in missing):
                break
        return types

    def _start(
        self, tasks: asyncio.TaskGroup, kind: Kind, found: ResourceType | None, *, marked: bool
    ) -> None:
        followed = self._followed.setdefault(kind, _Followed())
        if followed.task is not None:
            return
        if found is None or (self._scope.namespace and not found.namespaced):
            # No such objects can be seen. The kind may be defined later.
            followed.set_failed(UnknownKind(f"the cluster has no kind {kind[1]} that can be followed"))
            return
        followed.type = found
        name = f"follow {found.plural}"
        followed.task = tasks.create_task(self._follow(followed, found, marked=marked), name=name)

    def _end(self, kind: Kind) -> None:
        """Forget a kind with its objects."""
        followed = self._followed.pop(kind)
        if followed.task is not None:
            followed.task.cancel()
        # What will not be listed is not waited for.
        followed.decided.set()
        self.unlabelled = {key: uid for key, uid in self.unlabelled.items() if key[:2] != kind}
        self._hold(lambda: self.objects.retain(kind, ()))
        self._announce_held()

    async def _follow(self, followed: _Followed, kind: ResourceType, *, marked: bool) -> None:
        if (kind.group, kind.kind) in CHILD_KINDS:
            await self._wait_for_owners()
        namespace = self._scope.namespace if kind.namespaced else ""
        while True:
            events = watch(
                self._api,
                kind,
                namespace,
                label_selector=APPLICATION if marked else "",
                metadata_only=not self._reduce.needs_content(kind),
            )
            try:
                async with aclosing(events):
                    async for event in events:
                        self._receive(followed, kind, event)
            except PipecdError as error:
                known = followed.error is not None and str(followed.error) == str(error)
                (log.debug if known else log.warning)(
                    "kind_not_followed", cluster=self._api.name, kind=kind.kind, error=str(error)
                )
                followed.set_failed(error)
                if isinstance(error, NotFound):
                    # The definition is gone, and its objects with it.
                    self.objects.retain((kind.group, kind.kind), ())
                rejected = isinstance(error, Unauthenticated)
                await self._api.clock.sleep(5.0 if rejected else RETRY_INTERVAL)

    async def _wait_for_owners(self) -> None:
        """Until the declared kinds are listed, so that it is known whose objects are created ones."""
        owners = [
            followed for kind, followed in self._followed.items() if kind not in CHILD_KINDS and followed.task
        ]
        with suppress(TimeoutError):
            async with timeout(self._api.clock, _CHILDREN_DELAY):
                for followed in owners:
                    await followed.decided.wait()

    def _receive(self, followed: _Followed, kind: ResourceType, event: Event) -> None:
        match event:
            case Listing():
                followed.listed = set()
            case Synced():
                listed, followed.listed = followed.listed or set(), None
                followed.set_synced()
                # A list by label does not contain them: they are kept, and read again at the next check.
                unlabelled = self._unlabelled_of((kind.group, kind.kind))
                self._hold(lambda: self.objects.retain((kind.group, kind.kind), listed | unlabelled))
                self._announce_held()
            case Interrupted(error):
                followed.set_failed(error)
            case Resumed():
                followed.set_synced()
            case Seen(item):
                if followed.listed is None:
                    self._put(kind, item)
                else:
                    followed.listed.add(str(item["metadata"]["uid"]))
                    self._hold(lambda: self._put(kind, item))
            case Deleted(item):
                uid = str(item["metadata"]["uid"])
                if followed.listed is not None:
                    followed.listed.discard(uid)
                self._deleted[uid] = None
                EVENTS.labels("DELETED", str(self.objects.get(uid) is not None).lower()).inc()
                self.objects.remove(uid)

    def _unlabelled_of(self, kind: Kind) -> set[str]:
        """The uids of marked objects without labels, which may be read again at once."""
        found = {identity: uid for identity, uid in self.unlabelled.items() if identity[:2] == kind}
        for identity, uid in found.items():
            record = self.objects.get(uid)
            if record is not None:
                self._looked_up.pop((record.application, *identity), None)
        return set(found.values())

    def _put(self, kind: ResourceType, item: Object) -> None:
        record = self._reduce(kind, item)
        known = self.objects.get(record.uid)
        self.objects.put(record)
        handled = self.objects.get(record.uid) is not None
        EVENTS.labels("MODIFIED" if known else "ADDED", str(handled).lower()).inc()
        if record.later is not None:
            self._due[record.uid] = record.later.at
        else:
            self._due.pop(record.uid, None)
        if record.application and (known is None or not known.application):
            self._on_marked(record)
        if (kind.group, kind.kind) == ("apiextensions.k8s.io", "CustomResourceDefinition"):
            self._wake.set()

    def _on_marked(self, record: SeenObject) -> None:
        """An object that existed before may have created others, which were dropped as those of others."""
        age = self._api.clock.now() - record.created_at
        is_new = record.created_at and age < self._settings.new_age
        if self.objects.dropped_unclaimed and record.namespace and not is_new:
            self._to_list.add(record.namespace)

    async def _announce_due(self) -> None:
        while True:
            await self._api.clock.sleep(1.0)
            now = self._api.clock.now()
            for uid in [uid for uid, at in self._due.items() if at <= now]:
                del self._due[uid]
                self.objects.announce(uid)

    async def _list_requested(self) -> None:
        while True:
            await self._api.clock.sleep(1.0)
            namespaces, self._to_list = self._to_list, set()
            for namespace in sorted(namespaces):
                try:
                    await self._list_created(namespace)
                except PipecdError as error:
                    log.info("created_objects_not_listed", namespace=namespace, error=str(error))

    async def _list_created(self, namespace: str) -> None:
        for kind in sorted(CHILD_KINDS, reverse=True):
            followed = self._followed.get(kind)
            if followed is None or followed.type is None or not followed.synced:
                continue
            for item in await self._api.list(followed.type, namespace):
                uid = str(item["metadata"]["uid"])
                if uid not in self._deleted and self.objects.get(uid) is None:
                    self._put(followed.type, item)

    def _hold(self, change: Callable[[], None]) -> None:
        """Make a change that is announced when the list is complete."""
        self._holding = True
        try:
            change()
        finally:
            self._holding = False

    def _announce_held(self) -> None:
        held, self._held = self._held, set()
        for application in held:
            self._on_change(application)

    def _on_change(self, application: str) -> None:
        if self._holding:
            self._held.add(application)
            return
        for subscriber in self._subscribers:
            subscriber(application)

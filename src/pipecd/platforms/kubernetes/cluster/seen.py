"""What is known of the objects of a cluster: a small record of each, instead of the object.

`follow` puts the records here as watches report the objects; live state and drift detection read them. Kept
are the objects that have the marks of an application, and those below them: an object stays as long as a
chain of owners leads from it to a marked one. Objects of others are dropped, except for the newest, because
an object may be reported before its owner.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from pipecd.model.resource import Health
from pipecd.platforms.kubernetes.settings import FollowSettings

#: Chains of owners are followed so far.
_MAX_DEPTH = 16

#: Group and kind. Objects are the same in every version.
Kind = tuple[str, str]
#: Group, kind, namespace and name.
Identity = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Reference:
    """An object names another one of its namespace. The group is empty if any group is meant."""

    group: str
    kind: str
    name: str
    #: Empty for the namespace of the object itself.
    namespace: str = ""
    #: The other object stands above: a route names its gateway.
    upwards: bool = False


@dataclass(frozen=True, slots=True)
class Selector:
    """An object selects others of its namespace by labels: each of `terms` must hold.

    A term is a label, the values it may have (None: any), and whether it must not hold.
    """

    kinds: Set[Kind]
    terms: Sequence[tuple[str, Sequence[str] | None, bool]]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(
            negated != (labels.get(key) in values if values is not None else key in labels)
            for key, values, negated in self.terms
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """The health that follows at a time (epoch seconds) if the object does not change."""

    at: float
    health: Health
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenObject:
    """Times are epoch seconds, 0 if unknown."""

    uid: str
    api_version: str
    kind: str
    namespace: str
    name: str
    resource_version: str
    #: The id of the application that applied it (`mark.belongs_to`); empty for objects that others created.
    application: str = ""
    owners: Sequence[str] = ()
    health: Health = Health.UNKNOWN
    reason: str = ""
    later: Later | None = None
    created_at: int = 0
    updated_at: int = 0
    generation: int = 0
    #: Equal as long as nothing but the status changed. Empty for objects without marks.
    content: str = ""
    #: Other objects that it refers to, besides its owners.
    links: Sequence[Reference | Selector] = ()
    #: What selectors of others are compared with: those of a pod, or of a workload's pods.
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def identity(self) -> Identity:
        """The same as `Placed.identity` of the object's manifest."""
        return self.group, self.kind, self.namespace, self.name

    def health_at(self, now: float) -> tuple[Health, str]:
        """The health at a time (epoch seconds), and its reason."""
        if self.later is not None and now >= self.later.at:
            return self.later.health, self.later.reason
        return self.health, self.reason

    def differs(self, other: "SeenObject") -> bool:
        """Whether more changed than the version, such as noise in the status."""
        return (
            (self.health, self.reason, self.later, self.content, self.generation, self.application)
            != (other.health, other.reason, other.later, other.content, other.generation, other.application)
            or tuple(self.owners) != tuple(other.owners)
            or tuple(self.links) != tuple(other.links)
            or self.labels != other.labels
        )


class SeenObjects:
    """The records of one cluster. `on_change` is called with the id of each application that changed."""

    def __init__(
        self,
        on_change: Callable[[str], None] = lambda application: None,
        *,
        max_unclaimed: int = FollowSettings.max_unclaimed,
    ) -> None:
        self._on_change, self._max_unclaimed = on_change, max_unclaimed
        self._objects: dict[str, SeenObject] = {}
        self._by_application: dict[str, set[str]] = {}
        self._children: dict[str, set[str]] = {}
        #: Objects without a known owner, the newest last, and by the owners that they wait for.
        self._unclaimed: OrderedDict[str, SeenObject] = OrderedDict()
        self._waiting: dict[str, set[str]] = {}
        #: Whether objects were dropped that an owner may claim later.
        self.dropped_unclaimed = False

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, uid: str) -> SeenObject | None:
        return self._objects.get(uid)

    def of_application(self, application: str) -> Sequence[SeenObject]:
        """The objects that have the marks of the application. Those below them have none."""
        return [self._objects[uid] for uid in self._by_application.get(application, ())]

    def tree(self, application: str) -> Sequence[SeenObject]:
        """The objects of the application and all below them, each after one of its owners."""
        found: dict[str, SeenObject] = {}
        pending = list(self._by_application.get(application, ()))
        while pending:
            following: list[str] = []
            for uid in pending:
                if uid not in found:
                    found[uid] = self._objects[uid]
                    following += self._children.get(uid, ())
            pending = following
        return list(found.values())

    def belongs_to(self, uid: str, application: str) -> bool:
        """Whether the object is in the tree of the application."""
        return application in self._applications_of(uid)

    def put(self, item: SeenObject) -> None:
        """The object exists, as it is now."""
        previous = self._objects.get(item.uid)
        if previous is None and not item.application and not self._has_owner(item):
            self._keep_unclaimed(item)
            return
        self._forget_unclaimed(item.uid)
        before = self._applications_of(item.uid) if previous else frozenset()
        changed = previous is None or item.differs(previous)
        if previous:
            self._unlink(previous)
            if not changed:
                item = replace(item, updated_at=previous.updated_at)
        self._objects[item.uid] = item
        self._link(item)
        if previous and not item.application and not self._has_owner(item):
            # It lost its marks, or its owner.
            self._drop(item.uid)
            self._announce(before)
            return
        claimed = self._claim(item.uid)
        if changed or claimed:
            self._announce(before | self._applications_of(item.uid))

    def remove(self, uid: str) -> None:
        """The object is gone."""
        self._forget_unclaimed(uid)
        if uid in self._objects:
            affected = self._applications_of(uid)
            self._drop(uid)
            self._announce(affected)

    def announce(self, uid: str) -> None:
        """The health of the object changed because time passed."""
        if uid in self._objects:
            self._announce(self._applications_of(uid))

    def retain(self, kind: Kind, uids: Collection[str]) -> None:
        """Of the kind, only these objects exist."""
        for known in (self._objects, self._unclaimed):
            gone = [
                item.uid
                for item in known.values()
                if (item.group, item.kind) == kind and item.uid not in uids
            ]
            for uid in gone:
                self.remove(uid)

    def clear(self) -> None:
        for known in (self._objects, self._by_application, self._children, self._unclaimed, self._waiting):
            known.clear()
        self.dropped_unclaimed = False

    def _has_owner(self, item: SeenObject) -> bool:
        return any(owner in self._objects for owner in item.owners if owner != item.uid)

    def _link(self, item: SeenObject) -> None:
        if item.application:
            self._by_application.setdefault(item.application, set()).add(item.uid)
        for owner in item.owners:
            self._children.setdefault(owner, set()).add(item.uid)

    def _unlink(self, item: SeenObject) -> None:
        indexes = [(self._by_application, item.application)]
        indexes += [(self._children, owner) for owner in item.owners]
        for index, key in indexes:
            if key in index:
                index[key].discard(item.uid)
                if not index[key]:
                    del index[key]

    def _drop(self, uid: str) -> None:
        """Forget the object; those below it have no owner any more, and may get another one."""
        pending = [uid]
        while pending:
            item = self._objects.pop(pending.pop())
            self._unlink(item)
            if item.uid != uid:
                self._keep_unclaimed(item)
            for child in list(self._children.get(item.uid, ())):
                below = self._objects.get(child)
                if below and not below.application and not self._has_owner(below):
                    pending.append(child)

    def _keep_unclaimed(self, item: SeenObject) -> None:
        self._forget_unclaimed(item.uid)
        self._unclaimed[item.uid] = item
        for owner in item.owners:
            self._waiting.setdefault(owner, set()).add(item.uid)
        if len(self._unclaimed) > self._max_unclaimed:
            self._forget_unclaimed(next(iter(self._unclaimed)))
            self.dropped_unclaimed = True

    def _forget_unclaimed(self, uid: str) -> None:
        item = self._unclaimed.pop(uid, None)
        for owner in item.owners if item else ():
            if owner in self._waiting:
                self._waiting[owner].discard(uid)
                if not self._waiting[owner]:
                    del self._waiting[owner]

    def _claim(self, uid: str) -> bool:
        """Keep what waits for the owner, and what waits for that. Returns whether there was something."""
        pending, claimed = [uid], False
        while pending:
            for child in list(self._waiting.get(pending.pop(), ())):
                item = self._unclaimed[child]
                self._forget_unclaimed(child)
                self._objects[child] = item
                self._link(item)
                pending.append(child)
                claimed = True
        return claimed

    def _applications_of(self, uid: str) -> Set[str]:
        """The applications whose tree contains the object."""
        return frozenset(item.application for item in self._upwards(uid) if item.application)

    def _upwards(self, uid: str) -> Iterator[SeenObject]:
        visited: set[str] = set()
        pending = {uid}
        for _ in range(_MAX_DEPTH):
            visited |= pending
            items = [self._objects[found] for found in pending if found in self._objects]
            yield from items
            pending = {owner for item in items for owner in item.owners} - visited
            if not pending:
                return

    def _announce(self, applications: Iterable[str]) -> None:
        for application in applications:
            self._on_change(application)

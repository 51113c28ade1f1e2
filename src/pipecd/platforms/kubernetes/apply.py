"""Applies one object, or determines the effect. Called by stages, drift detection and plan preview.

Uses server-side apply as the manager `pipecd`: fields that are removed from Git are removed from the object,
and fields of others stay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipecd.errors import ConfigError, Conflict, NotFound, Refused, Temporary
from pipecd.platforms.kubernetes.argo import sync_options
from pipecd.platforms.kubernetes.cluster.api import Answer, Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.errors import Rejected
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.field_managers import has_kubectl_fields, take_over
from pipecd.platforms.kubernetes.field_rules import NO_RULES, FieldRules, take_added_fields
from pipecd.platforms.kubernetes.health.deletion import describe_deletion
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.mark import MANAGER, check_owner
from pipecd.platforms.kubernetes.normal import normalize
from pipecd.platforms.kubernetes.refusal import (
    NEVER_RECREATED,
    ON_IMMUTABLE,
    RECREATE,
    duplicates_of_others,
    has_duplicate_keys,
    immutable,
    is_immutable,
    refused,
)
from pipecd.platforms.kubernetes.replacing import with_foreign_metadata, with_git_ports
from pipecd.platforms.kubernetes.scaling import with_replicas

#: Annotations of PipeCD, with their value.
REPLACE, FORCE_REPLACE = "pipecd.dev/sync-by-replace", "pipecd.dev/force-sync-by-replace"
ENABLED = "enabled"
#: Written on objects that are created again at every sync: which run of a stage did.
RUN = "pipecd.dev/run"
#: Another program may change the object between reading and writing it.
_ATTEMPTS = 5

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A manifest with its kind and its namespace in the cluster."""

    manifest: Manifest
    type: ResourceType

    @property
    def namespace(self) -> str:
        return self.manifest.namespace

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Group, kind, namespace and name. One object can be read in several versions."""
        return self.type.group, self.type.kind, self.namespace, self.name

    def __str__(self) -> str:
        return str(self.manifest)


@dataclass(frozen=True)
class MustRecreate:
    """The object has to be deleted and created again. `uid` is that of the object to delete."""

    uid: str
    reason: str


class BeingDeleted(Refused):
    """The object in the cluster is being deleted: it must be gone before it can be created again."""

    def __init__(self, placed: Placed, live: Object) -> None:
        self.key = str(placed)
        remedy = "end what it waits for, or remove the finalizers if their controller is gone"
        super().__init__(
            f"{placed} is still being deleted{describe_deletion(live)}",
            remedy=remedy,
            place=placed.manifest.place,
        )


async def place(cluster: Cluster, manifest: Manifest, namespace: str) -> Placed:
    """`namespace` is that of objects that name none. Raises UnknownKind, and ConfigError for another one."""
    found = await cluster.kinds.find(manifest.api_version, manifest.kind)
    written = manifest.namespace
    if found.namespaced and namespace and written and written != namespace:
        raise ConfigError(
            f"{manifest} names another namespace than input.namespace, {namespace}",
            remedy="remove one of them",
            place=manifest.place,
        )
    metadata = {key: value for key, value in manifest.body["metadata"].items() if key != "namespace"}
    if found.namespaced:
        metadata["namespace"] = written or namespace or DEFAULT_NAMESPACE
    return Placed(manifest=Manifest({**manifest.body, "metadata": metadata}, manifest.place), type=found)


async def find_live(cluster: Cluster, placed: Placed) -> Object | None:
    try:
        return await cluster.api.get(placed.type, placed.namespace, placed.name)
    except NotFound:
        return None


async def apply(
    cluster: Cluster,
    placed: Placed,
    application: str,
    log: Log,
    *,
    rules: FieldRules = NO_RULES,
    known: Object | None = None,
    declared: Sequence[Manifest] = (),
    dry_run: bool = False,
) -> Object | MustRecreate:
    """The object as the cluster has it now, or would have it. Raises Refused with the place in Git.

    `placed` has the marks of the application. `known` is the object if it has just been read, and `declared`
    are the objects of the application. Repeating it has no further effect. Raises BeingDeleted if the object
    must be gone first, except for a dry run.
    """
    for _ in range(_ATTEMPTS):
        live, known = known or await find_live(cluster, placed), None
        if live is not None:
            check_owner(live, placed.manifest, application)
            if not dry_run and live["metadata"].get("deletionTimestamp"):
                raise BeingDeleted(placed, live)
            if not dry_run and _must_recreate(placed.manifest, live):
                return MustRecreate(live["metadata"]["uid"], "force-sync-by-replace is set")
        sending = _Sending(cluster, placed, live, log, rules, declared, dry_run)
        try:
            return await sending.send()
        except Rejected as error:
            return _rejected(placed, live, error)
        except Conflict:
            continue
    raise Temporary(f"{placed} is changed by another program repeatedly")


def _must_recreate(manifest: Manifest, live: Object) -> bool:
    """False if this run of the stage has created it."""
    run = (live["metadata"].get("annotations") or {}).get(RUN)
    return asks_to_recreate(manifest) and (run is None or run != manifest.annotations.get(RUN))


def asks_to_recreate(manifest: Manifest) -> bool:
    """Whether the object is deleted and created again at every sync."""
    options = sync_options(manifest.annotations)
    return manifest.annotations.get(FORCE_REPLACE) == ENABLED or {"Replace=true", "Force=true"} <= options


def asks_to_replace(manifest: Manifest) -> bool:
    """Whether the object is replaced at every sync instead of applied."""
    return manifest.annotations.get(REPLACE) == ENABLED or "Replace=true" in sync_options(
        manifest.annotations
    )


@dataclass(frozen=True)
class _Sending:
    """One attempt to bring an object to the state in Git."""

    cluster: Cluster
    placed: Placed
    live: Object | None
    log: Log
    rules: FieldRules
    declared: Sequence[Manifest]
    dry_run: bool

    async def send(self) -> Object:
        """Raises Rejected, and Conflict if the object changed meanwhile."""
        manifest, live = self.placed.manifest, self.live
        normal = normalize(manifest, self.log)
        if asks_to_replace(manifest):
            body = self.rules.keep_ignored(manifest, normal, live)
            return await self._replace(await self._with_replicas(body, live, whole=True), live)
        if live is not None and not self.dry_run:
            live = await take_over(self.cluster, self.placed.type, manifest, live, self.log)
            if self.rules.strict:
                live = await take_added_fields(self.cluster, self.placed.type, live, self.log)
        body = await self._with_replicas(self.rules.keep_ignored(manifest, normal, live), live)
        try:
            return await self._apply(body)
        except Rejected as error:
            if has_duplicate_keys(error):
                return await self._replace_because(error, body, live)
            if live is None or not duplicates_of_others(error):
                raise
            return await self._apply_with_git_ports(error, body, live)

    async def _apply(self, body: Object) -> Object:
        api, name = self.cluster.api, self.placed.name
        where = (self.placed.type, self.placed.namespace, name)
        try:
            answer = await api.apply(*where, body, manager=MANAGER, force=False, dry_run=self.dry_run)
        except Conflict as conflict:
            if not self.dry_run:
                self.log(f"{self.placed}: taking fields over: {conflict}")
            answer = await api.apply(*where, body, manager=MANAGER, force=True, dry_run=self.dry_run)
        return self._object(answer)

    async def _replace(self, body: Object, live: Object | None) -> Object:
        where = (self.placed.type, self.placed.namespace)
        if live is None:
            answer = await self.cluster.api.create(*where, body, manager=MANAGER, dry_run=self.dry_run)
            return self._object(answer)
        version = live["metadata"]["resourceVersion"]
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
        name = self.placed.name
        answer = await self.cluster.api.replace(*where, name, body, manager=MANAGER, dry_run=self.dry_run)
        return self._object(answer)

    async def _replace_because(self, error: Rejected, body: Object, live: Object | None) -> Object:
        """A list in Git has two items of one key, which kubectl and the API accept."""
        self.log(f"{self.placed}: replacing it, because it cannot be applied: {error.what}")
        if live is not None:
            body = with_foreign_metadata(await self._with_replicas(body, live, whole=True), live)
        return await self._replace(body, live)

    async def _apply_with_git_ports(self, error: Rejected, body: Object, live: Object) -> Object:
        """A port was changed, and another manager still has the one before: two ports have the same name."""
        if has_kubectl_fields(live) and not self.dry_run:
            kind, manifest = self.placed.type, self.placed.manifest
            live = await take_over(self.cluster, kind, manifest, live, self.log, from_kubectl=True)
            try:
                return await self._apply(body)
            except Rejected as again:
                if not duplicates_of_others(again):
                    raise
        replaced = await self._replace(with_git_ports(live, body), live)
        if self.dry_run:
            return replaced
        self.log(f"{self.placed}: its ports were taken over from other managers: {error.what}")
        return await self._apply(body)

    async def _with_replicas(self, body: Object, live: Object | None, *, whole: bool = False) -> Object:
        log, declared = self.log, self.declared
        return await with_replicas(
            self.cluster, self.placed.type, body, live, log, declared=declared, whole=whole
        )

    def _object(self, answer: Answer) -> Object:
        if not self.dry_run:
            for warning in answer.warnings:
                self.log(f"{self.placed}: {warning}")
        return answer.object


def _rejected(placed: Placed, live: Object | None, error: Rejected) -> MustRecreate:
    """Raises Refused unless the object may be created again."""
    if live is None or not is_immutable(error):
        raise refused(placed.manifest, error) from error
    # A rollback may create again what the failed commit was allowed to.
    consents = (placed.manifest.annotations, live["metadata"].get("annotations") or {})
    consented = asks_to_recreate(placed.manifest) or any(
        annotations.get(ON_IMMUTABLE) == RECREATE for annotations in consents
    )
    if consented and placed.manifest.kind not in NEVER_RECREATED:
        return MustRecreate(live["metadata"]["uid"], error.what)
    raise immutable(placed.manifest, error) from error

"""Applies one object, or determines the effect. Called by stages, drift detection and plan preview.

Uses server-side apply as the manager `pipecd`: fields that are removed from Git are removed from the object,
and fields of others stay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.errors import ConfigError, Conflict, NotFound, Refused, Temporary
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.errors import Rejected
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.field_rules import NO_RULES, FieldRules, take_added_fields
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest
from pipecd.platforms.kubernetes.mark import KUBECTL_MANAGERS, MANAGER, check_owner, foreign_marks
from pipecd.platforms.kubernetes.normal import normalize

#: Annotations of PipeCD, with their value.
REPLACE, FORCE_REPLACE = "pipecd.dev/sync-by-replace", "pipecd.dev/force-sync-by-replace"
ENABLED = "enabled"
#: What happens when a field cannot be changed: the value "recreate" deletes the object and creates it again.
ON_IMMUTABLE, RECREATE = "pipecd.dev/on-immutable", "recreate"
#: Written on objects that are created again at every sync: which run of a stage did.
RUN = "pipecd.dev/run"
#: Kinds that contain data or other objects: they are never deleted to change a field.
NEVER_RECREATED = frozenset(
    {"PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition"}
)
_ARGO_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_IMMUTABLE = ("field is immutable", "immutable field", "may not change", "updates to ")
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
    dry_run: bool = False,
) -> Object | MustRecreate:
    """The object as the cluster has it now, or would have it. Raises Refused with the place in Git.

    `placed` has the marks of the application. `known` is the object if it has just been read. Repeating it
    has no further effect.
    """
    for _ in range(_ATTEMPTS):
        live, known = known or await find_live(cluster, placed), None
        if live is not None:
            check_owner(live, placed.manifest, application)
        if live is not None and not dry_run and _must_recreate(placed.manifest, live):
            return MustRecreate(live["metadata"]["uid"], "force-sync-by-replace is set")
        try:
            if live is not None and not dry_run:
                live = await _take_over(cluster, placed, live, log)
                if rules.strict:
                    live = await take_added_fields(cluster, placed.type, live, log)
            return await _send(cluster, placed, live, log, rules, dry_run=dry_run)
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
    options = _argo_options(manifest)
    return manifest.annotations.get(FORCE_REPLACE) == ENABLED or {"Replace=true", "Force=true"} <= options


def _argo_options(manifest: Manifest) -> set[str]:
    return {option.strip() for option in manifest.annotations.get(_ARGO_SYNC_OPTIONS, "").split(",")}


async def _send(
    cluster: Cluster, placed: Placed, live: Object | None, log: Log, rules: FieldRules, *, dry_run: bool
) -> Object:
    body = rules.keep_ignored(placed.manifest, normalize(placed.manifest, live, log), live)
    where = (placed.type, placed.namespace)
    by_replace = placed.manifest.annotations.get(REPLACE) == ENABLED
    if by_replace or "Replace=true" in _argo_options(placed.manifest):
        if live is None:
            answer = await cluster.api.create(*where, body, manager=MANAGER, dry_run=dry_run)
        else:
            version = live["metadata"]["resourceVersion"]
            body["metadata"] = {**body["metadata"], "resourceVersion": version}
            answer = await cluster.api.replace(*where, placed.name, body, manager=MANAGER, dry_run=dry_run)
    else:
        try:
            answer = await cluster.api.apply(
                *where, placed.name, body, manager=MANAGER, force=False, dry_run=dry_run
            )
        except Conflict as conflict:
            if not dry_run:
                log(f"{placed}: taking fields over: {conflict}")
            answer = await cluster.api.apply(
                *where, placed.name, body, manager=MANAGER, force=True, dry_run=dry_run
            )
    if not dry_run:
        for warning in answer.warnings:
            log(f"{placed}: {warning}")
    return answer.object


async def _take_over(cluster: Cluster, placed: Placed, live: Object, log: Log) -> Object:
    """Make fields that kubectl or PipeCD's agent applied ours, so that those removed from Git are removed.

    Fields that people changed with `kubectl edit` and the like stay theirs.
    """
    metadata = live["metadata"]
    entries: Sequence[Mapping[str, Any]] = metadata.get("managedFields") or ()
    ours = [entry for entry in entries if _is_ours(entry)]
    theirs = [entry for entry in entries if _is_kubectl(entry)]
    marks = foreign_marks(live)
    if (ours or not theirs) and not marks:
        return live
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
    ]
    if theirs and not ours:
        fields: dict[str, Any] = {}
        for entry in theirs:
            fields = _union(fields, entry.get("fieldsV1") or {})
        rest = [entry for entry in entries if not _is_kubectl(entry)]
        moved = {**theirs[0], "manager": MANAGER, "operation": "Apply", "fieldsV1": fields}
        operations.append({"op": "replace", "path": "/metadata/managedFields", "value": [moved, *rest]})
        marks = [*marks, *([_LAST_APPLIED] if _LAST_APPLIED in metadata.get("annotations", {}) else [])]
        managers = ", ".join(dict.fromkeys(str(entry["manager"]) for entry in theirs))
        log(f"{placed}: taking over what {managers} applied")
    for mark in marks:
        escaped = mark.replace("~", "~0").replace("/", "~1")
        operations.append({"op": "remove", "path": f"/metadata/annotations/{escaped}"})
    answer = await cluster.api.json_patch(placed.type, placed.namespace, placed.name, operations)
    return answer.object


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply"


def _is_kubectl(entry: Mapping[str, Any]) -> bool:
    return (
        entry.get("manager") in KUBECTL_MANAGERS
        and entry.get("operation") == "Update"
        and not entry.get("subresource")
    )


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Sets of fields are trees of keys."""
    both = {key: _union(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def _rejected(placed: Placed, live: Object | None, error: Rejected) -> MustRecreate:
    """Raises Refused unless the object may be created again."""
    message = error.what
    immutable = any(text in message for text in _IMMUTABLE) and error.status.reason == "Invalid"
    if live is None or not immutable:
        raise Refused(f"{placed} was refused: {message}", place=placed.manifest.place) from error
    kind = placed.manifest.kind
    if kind in NEVER_RECREATED:
        raise Refused(
            f"{placed} cannot be changed: {message}",
            remedy=f"a {kind} is never deleted to change a field; create another one and move to it",
            place=placed.manifest.place,
        ) from error
    if placed.manifest.annotations.get(ON_IMMUTABLE) == RECREATE or asks_to_recreate(placed.manifest):
        return MustRecreate(live["metadata"]["uid"], message)
    raise Refused(
        f"{placed} cannot be changed: {message}",
        remedy="undo the change, give the object another name, or let it be deleted and created again:"
        f" annotate it with {ON_IMMUTABLE}: {RECREATE}",
        place=placed.manifest.place,
    ) from error

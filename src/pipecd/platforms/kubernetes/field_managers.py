"""Which fields of an object belong to this agent. Called before an object is applied.

The server removes a field that is missing in Git only if this agent owned it alone. So fields that kubectl,
PipeCD's agent or the tool of an adopted object applied become ours first. Fields that people changed with
`kubectl edit` and the like stay theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipecd.json_input import decode_json
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import (
    APPLICATION,
    KUBECTL_MANAGERS,
    MANAGER,
    tool_managers,
    tracking_marks,
)

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Log = Callable[[str], None]
#: An element of `metadata.managedFields`.
Entry = Mapping[str, Any]


async def take_over(
    cluster: Cluster,
    kind: ResourceType,
    manifest: Manifest,
    live: Object,
    log: Log,
    *,
    from_kubectl: bool = False,
) -> Object:
    """The live object after its fields became ours. One request, or none if there is nothing to take over.

    `from_kubectl`: also what kubectl applied beside this agent. Raises Conflict if the object changes.
    """
    metadata = live["metadata"]
    entries: Sequence[Entry] = metadata.get("managedFields") or ()
    managers = _taken_over(live, from_kubectl=from_kubectl)
    theirs = [entry for entry in entries if _is_taken_over(entry, managers)]
    marks = tracking_marks(live, manifest)
    served = await _served_versions(cluster, kind, entries)
    unserved = [entry for entry in entries if served and entry.get("apiVersion") not in served]
    if not theirs and not marks and not unserved:
        return live
    changed = entries
    if unserved:
        versions = ", ".join(dict.fromkeys(str(entry.get("apiVersion")) for entry in unserved))
        log(f"{manifest}: its fields were applied as {versions}, which the cluster no longer has")
        changed = [
            {**entry, "apiVersion": kind.api_version} if entry in unserved else entry for entry in changed
        ]
        theirs = [entry for entry in changed if _is_taken_over(entry, managers)]
    if theirs:
        names = [name for name in dict.fromkeys(str(entry["manager"]) for entry in theirs) if name != MANAGER]
        if names:
            log(f"{manifest}: taking over what {', '.join(names)} applied")
        changed = _moved(changed, theirs)
        if LAST_APPLIED in (metadata.get("annotations") or {}):
            marks = [*marks, ("annotations", LAST_APPLIED)]
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
    ]
    if changed is not entries:
        operations.append({"op": "replace", "path": "/metadata/managedFields", "value": changed})
    for name, key in marks:
        operations.append({"op": "remove", "path": f"/metadata/{name}/{_escape(key)}"})
    answer = await cluster.api.json_patch(kind, metadata.get("namespace", ""), metadata["name"], operations)
    return answer.object


def has_kubectl_fields(live: Mapping[str, Any]) -> bool:
    return any(
        _is_taken_over(entry, KUBECTL_MANAGERS) for entry in live["metadata"].get("managedFields") or ()
    )


def owns_alone(live: Mapping[str, Any], *path: str) -> bool:
    """Whether this agent applied the field, such as `spec`, `replicas`, and no other manager changed it."""
    owners = [entry for entry in live["metadata"].get("managedFields") or () if _has_field(entry, path)]
    return bool(owners) and all(_is_ours(entry) for entry in owners)


def foreign_keys(live: Mapping[str, Any], name: str) -> set[str]:
    """The keys in the mapping `metadata.<name>` that other managers set."""
    keys: set[str] = set()
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") != MANAGER:
            fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
            keys |= {key.removeprefix("f:") for key in fields.get(f"f:{name}") or {}}
    return keys


def _taken_over(live: Mapping[str, Any], *, from_kubectl: bool) -> frozenset[str]:
    """The managers whose fields become ours."""
    entries: Sequence[Entry] = live["metadata"].get("managedFields") or ()
    managers = tool_managers(live)
    first = not any(_is_ours(entry) for entry in entries)
    if first or from_kubectl or _was_applied_by_piped(live):
        managers |= KUBECTL_MANAGERS
    return managers


def _is_ours(entry: Entry) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply"


def _is_taken_over(entry: Entry, managers: frozenset[str]) -> bool:
    """What this agent changed without applying it, such as by replacing the object, is taken over too."""
    if entry.get("subresource") or _is_ours(entry):
        return False
    return entry.get("manager") in managers or entry.get("manager") == MANAGER


def _was_applied_by_piped(live: Mapping[str, Any]) -> bool:
    """Whether PipeCD's agent applied the object last with kubectl: its manifest had the annotations."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "")
    try:
        applied = decode_json(text) if APPLICATION in text else None
    except ValueError:
        return False
    metadata = applied.get("metadata") if isinstance(applied, Mapping) else None
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return isinstance(annotations, Mapping) and APPLICATION in annotations


def _moved(entries: Sequence[Entry], theirs: Sequence[Entry]) -> Sequence[Entry]:
    """`entries` with the fields of `theirs` in one entry of ours."""
    ours = [entry for entry in entries if _is_ours(entry)]
    fields: dict[str, Any] = {}
    for entry in (*ours, *theirs):
        fields = _union(fields, entry.get("fieldsV1") or {})
    first = (*ours, *theirs)[0]
    rest = [entry for entry in entries if entry not in theirs and entry not in ours]
    return [{**first, "manager": MANAGER, "operation": "Apply", "fieldsV1": fields}, *rest]


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Sets of fields are trees of keys."""
    both = {key: _union(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


async def _served_versions(cluster: Cluster, kind: ResourceType, entries: Sequence[Entry]) -> set[str]:
    """The versions in which the cluster has the kind; empty if there is no reason to ask."""
    if all(entry.get("apiVersion") == kind.api_version for entry in entries):
        return set()
    types = await cluster.kinds.types()
    return {found.api_version for found in types if (found.group, found.kind) == (kind.group, kind.kind)}


def _has_field(entry: Entry, path: Sequence[str]) -> bool:
    fields: Any = entry.get("fieldsV1") or {}
    for name in path:
        fields = fields.get(f"f:{name}") if isinstance(fields, Mapping) else None
    return fields is not None


def _escape(key: str) -> str:
    """As part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")

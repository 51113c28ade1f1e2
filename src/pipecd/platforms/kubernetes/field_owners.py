"""Which program set which field of a live object, as `metadata.managedFields` records it. Pure.

A field is a path of the parts that the API uses: `f:name` for a key, `k:{"name":"web"}` for an item of a list
with keys, `v:"value"` for an item of a set.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pipecd.json_input import decode_json
from pipecd.platforms.kubernetes.mark import MANAGER, PREFIX

Field = tuple[str, ...]
#: Deeper fields count as one.
_MAX_DEPTH = 60
#: Programs with which people change objects by hand: kubectl, Lens, dashboards, scripts.
_INTERACTIVE = re.compile(
    r"kubectl.*|node-fetch|lens.*|k9s|mozilla.*|dashboard.*|headlamp.*|rancher.*|octant|curl|httpie|postman.*"
    r"|python.*|openapi-generator.*|unknown"
)
#: Words in the names of programs that run by themselves.
_AUTOMATIC = re.compile(
    r"controller|operator|manager|scheduler|kubelet|autoscaler|webhook|injector|admission|provisioner|apiserver"
    r"|agent|daemon|proxy|keda|argocd|flux|helm|istio|cilium|calico|linkerd|vault|velero|karpenter|descheduler"
    r"|reloader|stakater|prometheus|pilot|pipecd|piped|terraform|crossplane|service-?mesh|cert-|external-|sync"
)
#: Annotations that the server or kubectl writes.
SERVER_ANNOTATIONS = frozenset(
    {"deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"}
)
_METADATA = {"f:annotations", "f:labels", "f:finalizers"}


@dataclass(frozen=True, kw_only=True)
class Owner:
    """`at` is ISO 8601; empty if it is unknown."""

    manager: str
    at: str

    def __str__(self) -> str:
        return f"{self.manager} at {self.at}" if self.at else self.manager


def is_interactive(entry: Mapping[str, Any]) -> bool:
    """Whether a person changed the object by hand, judged by the name of the program.

    Controllers write by themselves; so does what applies objects, which therefore has fields of its own.
    """
    manager = str(entry.get("manager", "")).lower()
    if manager.startswith("kubectl"):
        return entry.get("subresource") in (None, "", "scale")
    if entry.get("operation") != "Update" or entry.get("subresource"):
        return False
    return bool(_INTERACTIVE.fullmatch(manager)) or not _AUTOMATIC.search(manager)


def added_by_people(live: Mapping[str, Any]) -> Sequence[tuple[Field, Owner]]:
    """The fields that a person set, and that neither this agent nor a controller sets too.

    Of an object that this agent has not applied yet, there are none: what it declares is not known.
    """
    entries = _entries(live)
    if not any(_is_ours(entry) for entry in entries):
        return []
    others: set[Field] = set()
    for entry in entries:
        if not is_interactive(entry):
            others |= fields_of(entry)
    found: dict[Field, Owner] = {}
    for entry in entries:
        if is_interactive(entry):
            for field in sorted(fields_of(entry) - others):
                found.setdefault(field, _owner(entry))
    return [(field, owner) for field, owner in found.items() if _is_declarable(field)]


def taken_over(live: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """`managedFields` after this agent has taken over what people set."""
    entries = _entries(live)
    ours = next(entry for entry in entries if _is_ours(entry))
    people = [
        entry
        for entry in entries
        if is_interactive(entry) and entry.get("apiVersion") == ours.get("apiVersion")
    ]
    fields: Any = ours.get("fieldsV1") or {}
    for entry in people:
        fields = _union(fields, entry.get("fieldsV1") or {})
    rest = [entry for entry in entries if entry is not ours and entry not in people]
    return [{**ours, "fieldsV1": fields}, *rest]


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Sets of fields are trees of keys."""
    both = {key: _union(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def takes_from(live: Mapping[str, Any], wanted: Mapping[str, Any], *, differ: bool) -> Sequence[Owner]:
    """Who set the fields that applying `wanted` changes; else, if they `differ`, who changed the object last.

    `wanted` is the answer of a dry run: its managers have lost the fields that were taken from them.
    """
    remaining: dict[tuple[Any, ...], Set[Field]] = {
        _identity(entry): fields_of(entry) for entry in _entries(wanted)
    }
    others = [
        entry for entry in _entries(live) if not _is_ours(entry) and entry.get("subresource") != "status"
    ]
    taken = [entry for entry in others if fields_of(entry) - remaining.get(_identity(entry), frozenset())]
    if not taken and differ:
        # A field was removed, which has no owner any more.
        taken = sorted(others, key=lambda entry: str(entry.get("time", "")))[-1:]
    return [_owner(entry) for entry in taken]


def without(tree: Any, fields: Sequence[Field]) -> Any:
    """`tree` without `fields`, and without the mappings and lists that contained only those."""
    for field in fields:
        tree = _without(tree, field)
    return {} if tree is _NOTHING else tree


def describe(field: Field) -> str:
    """`spec.ports[name=http].nodePort`."""
    text = ""
    for part in field:
        sign, _, value = part.partition(":")
        if sign == "f":
            simple = re.fullmatch(r"[A-Za-z0-9_-]+", value)
            text += (f".{value}" if text else value) if simple else f'["{value}"]'
        elif sign == "k":
            keys = _keys(value)
            text += "[" + ",".join(f"{key}={item}" for key, item in keys.items()) + "]"
        else:
            text += f"[{value}]"
    return text


def path_of(field: Field, tree: Any) -> tuple[str, ...]:
    """The field as a path of `driftDetection.ignoreFields`, with the positions of list items in `tree`."""
    path: list[str] = []
    for part in field:
        sign, _, value = part.partition(":")
        if isinstance(tree, list):
            index = _index(tree, part)
            path.append(str(index) if index is not None else value)
            tree = None if index is None else tree[index]
        else:
            path.append(value)
            tree = tree.get(value) if sign == "f" and isinstance(tree, Mapping) else None
    return tuple(path)


def fields_of(entry: Mapping[str, Any]) -> Set[Field]:
    """The fields of one entry of `managedFields`: those without fields below them."""
    return frozenset(_leaves(entry.get("fieldsV1"), ()))


def _leaves(tree: Any, path: Field) -> Iterator[Field]:
    parts = [part for part in tree if part != "."] if isinstance(tree, Mapping) else []
    if not parts or len(path) >= _MAX_DEPTH:
        if path:
            yield path
        return
    for part in parts:
        yield from _leaves(tree[part], (*path, str(part)))


def _entries(live: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in live["metadata"].get("managedFields") or () if isinstance(entry, Mapping)]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply"


def _identity(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(key) for key in ("manager", "operation", "subresource", "apiVersion"))


def _owner(entry: Mapping[str, Any]) -> Owner:
    return Owner(manager=str(entry.get("manager", ""))[:128], at=str(entry.get("time") or "")[:40])


def _is_declarable(field: Field) -> bool:
    """Whether a manifest could have the field: not the status, and no mark or field of a server."""
    if field[0] == "f:status":
        return False
    if field[0] != "f:metadata":
        return True
    if len(field) < 3 or field[1] not in _METADATA:
        return False
    name = field[2].partition(":")[2]
    return not name.startswith(PREFIX) and name not in SERVER_ANNOTATIONS


_NOTHING = object()


def _without(tree: Any, field: Field) -> Any:
    """`_NOTHING` if nothing remains."""
    part, *rest = field
    name = part.partition(":")[2]
    if isinstance(tree, Mapping) and name in tree:
        item = _without(tree[name], tuple(rest)) if rest else _NOTHING
        kept = {key: value for key, value in tree.items() if key != name}
        if item is not _NOTHING:
            # In its place, so that the order of keys does not change.
            kept = {key: (item if key == name else value) for key, value in tree.items()}
        return kept or _NOTHING
    if isinstance(tree, list) and (index := _index(tree, part)) is not None:
        item = _without(tree[index], tuple(rest)) if rest else _NOTHING
        items = [*tree[:index], *([] if item is _NOTHING else [item]), *tree[index + 1 :]]
        return items or _NOTHING
    return tree


def _index(items: Sequence[Any], part: str) -> int | None:
    """The position of the item that `k:`, `v:` or `i:` names."""
    sign, _, value = part.partition(":")
    if sign == "i":
        return int(value) if value.isdigit() and int(value) < len(items) else None
    if sign == "v":
        wanted = _decoded(value)
        return next((index for index, item in enumerate(items) if item == wanted), None)
    keys = _keys(value)
    for index, item in enumerate(items):
        if keys and isinstance(item, Mapping) and all(item.get(key) == keys[key] for key in keys):
            return index
    return None


def _keys(value: str) -> Mapping[str, Any]:
    decoded = _decoded(value)
    return decoded if isinstance(decoded, Mapping) else {}


def _decoded(value: str) -> Any:
    try:
        return decode_json(value)
    except ValueError:
        return None

"""Bodies that replace an object where applying it is impossible. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.field_managers import foreign_keys
from pipecd.platforms.kubernetes.mark import PREFIX

#: Fields that the server fills in once, by kind. Leaving them out may be refused as a change.
_ALLOCATED = {
    "Service": ("clusterIP", "clusterIPs", "healthCheckNodePort"),
    "PersistentVolumeClaim": ("volumeName", "storageClassName", "volumeMode"),
}
#: Of a port of a Service: also filled in once.
_ALLOCATED_PORT = "nodePort"


def with_foreign_metadata(body: Object, live: Object) -> Object:
    """`body` with what the server allocated, and with annotations, labels and finalizers of others."""
    metadata, before = dict(body["metadata"]), live["metadata"]
    for name in ("annotations", "labels"):
        present = before.get(name) or {}
        # A label of this agent that was copied by another program is not theirs.
        kept = {key for key in foreign_keys(live, name) & present.keys() if not key.startswith(PREFIX)}
        if values := {**{key: present[key] for key in kept}, **(metadata.get(name) or {})}:
            metadata[name] = values
    if before.get("finalizers"):
        declared = metadata.get("finalizers") or []
        metadata["finalizers"] = list(dict.fromkeys([*before["finalizers"], *declared]))
    changed = {**body, "metadata": metadata}
    spec, allocated = body.get("spec"), live.get("spec") or {}
    if isinstance(spec, Mapping) and live.get("kind") in _ALLOCATED:
        names = [name for name in _ALLOCATED[live["kind"]] if name in allocated and name not in spec]
        changed["spec"] = {**spec, **{name: allocated[name] for name in names}}
    return changed


def with_git_ports(live: Object, body: Object) -> Object:
    """The live object; its lists of ports are those of `body`, with the node ports that it has already."""
    changed = {key: value for key, value in live.items() if key != "status"}
    changed["metadata"] = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    return {**changed, "spec": _with_ports(live.get("spec"), body.get("spec"))}


def _with_ports(live: Any, git: Any) -> Any:
    if isinstance(live, Mapping) and isinstance(git, Mapping):
        return {
            key: _ports(value, git[key])
            if key == "ports" and isinstance(git.get(key), list)
            else _with_ports(value, git.get(key))
            for key, value in live.items()
        }
    if isinstance(live, list) and isinstance(git, list):
        by_name = {item["name"]: item for item in git if isinstance(item, Mapping) and "name" in item}
        return [
            _with_ports(item, by_name.get(item.get("name"))) if isinstance(item, Mapping) else item
            for item in live
        ]
    return live


def _ports(live: Any, git: Sequence[Any]) -> Sequence[Any]:
    allocated = {
        port.get("name"): port[_ALLOCATED_PORT]
        for port in (live if isinstance(live, list) else ())
        if isinstance(port, Mapping) and _ALLOCATED_PORT in port
    }
    return [
        {_ALLOCATED_PORT: allocated[port.get("name")], **port}
        if isinstance(port, Mapping) and port.get("name") in allocated
        else port
        for port in git
    ]

"""What `driftDetection` says about fields: which ones a sync leaves, and whether it removes added ones.

For fields of `ignoreFields` that this agent applies, a sync sends their live values, so that correcting
another field does not reset them. Of a list whose items have names, only the named item keeps its value, and
the others are sent as in Git.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecd.config.application import ApplicationConfig
from pipecd.model.drift import IgnoredFields, Path
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.field_owners import added_by_people, describe, taken_over
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import MANAGER, resource_key
from pipecd.platforms.kubernetes.secret import is_secret

#: Keys that identify the items of lists in the API, in the order in which they are tried.
_ITEM_KEYS = ("name", "key", "containerPort", "port", "mountPath", "devicePath", "ip", "type", "uid")
_NOTHING = object()
#: Fields that a log line names.
_MAX_LOGGED = 10


@dataclass(frozen=True, kw_only=True)
class FieldRules:
    """`driftDetection` of an application: which fields a sync leaves, and whether it removes added ones."""

    ignored: IgnoredFields = field(default_factory=IgnoredFields)
    strict: bool = False

    @classmethod
    def of(cls, config: ApplicationConfig) -> "FieldRules":
        settings = config.spec.drift_detection
        return cls(ignored=IgnoredFields(settings.ignore_fields), strict=settings.strict)

    def ignored_paths(self, manifest: Manifest) -> Sequence[Path]:
        """Those of one object, whose namespace must be known. Of a Secret, `stringData` is in `data`."""
        paths = self.ignored.paths(resource_key(manifest))
        if not is_secret(manifest.body):
            return paths
        return [("data", *path[1:]) if path[0] == "stringData" else path for path in paths]

    def keep_ignored(
        self, manifest: Manifest, body: dict[str, Any], live: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """`body`, which is to be applied for `manifest`, with the live values of ignored fields."""
        paths = self.ignored_paths(manifest) if live is not None else ()
        return with_live_values(body, live, paths) if live is not None and paths else body


NO_RULES = FieldRules()


async def take_added_fields(
    cluster: Cluster, kind: ResourceType, live: Object, log: Callable[[str], None]
) -> Object:
    """Make the fields that people added ours, so that applying the object removes them."""
    added = added_by_people(live)
    if not added:
        return live
    metadata = live["metadata"]
    shown = ", ".join(f"{describe(found)} of {owner.manager}" for found, owner in added[:_MAX_LOGGED])
    more = f" and {len(added) - _MAX_LOGGED} more" if len(added) > _MAX_LOGGED else ""
    log(f"{kind.kind} {metadata['name']}: removing fields that are not in Git: {shown}{more}")
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": taken_over(live)},
    ]
    where = (kind, metadata.get("namespace", ""), metadata["name"])
    return (await cluster.api.json_patch(*where, operations)).object


def with_live_values(
    body: Mapping[str, Any], live: Mapping[str, Any], paths: Sequence[Path]
) -> dict[str, Any]:
    """`body`, which is to be applied, with the values of `live` at `paths`.

    That is, at those of them that `body` contains, or that this agent applied earlier: a field that it no
    longer sends would be removed.
    """
    merged = _merged(body, live, [tuple(path) for path in paths], _owned(live))
    # Of a path such as "spec", everything is live; what identifies the object is not changed.
    identity = {key: body[key] for key in ("apiVersion", "kind") if key in body}
    metadata = {
        **_mapping(merged.get("metadata")),
        **{key: body["metadata"][key] for key in ("name", "namespace") if key in body["metadata"]},
    }
    return {**merged, **identity, "metadata": metadata}


def _owned(live: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that this agent applied, as a tree of `managedFields`."""
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply":
            return _mapping(entry.get("fieldsV1"))
    return {}


def _merged(git: Any, live: Any, paths: Sequence[Path], owned: Mapping[str, Any]) -> Any:
    """`git` with the values of `live` at `paths`."""
    if isinstance(git, Mapping):
        return _merged_mapping(git, _mapping(live), paths, owned)
    if isinstance(git, list) and isinstance(live, list):
        return _merged_list(git, live, paths)
    return git


def _merged_mapping(
    git: Mapping[str, Any], live: Mapping[str, Any], paths: Sequence[Path], owned: Mapping[str, Any]
) -> dict[str, Any]:
    merged = {}
    for key in dict.fromkeys([*git, *live]):
        below = [path[1:] for path in paths if path[0] == key]
        fields = _mapping(owned.get(f"f:{key}"))
        if not below:
            value = git.get(key, _NOTHING)
        elif any(not path for path in below):
            value = live.get(key, _NOTHING) if key in git or f"f:{key}" in owned else _NOTHING
        elif key in git:
            value = _merged(git[key], live.get(key), below, fields)
        else:
            # Only what was applied earlier and is ignored.
            value = _merged({}, live[key], below, fields) or _NOTHING
        if value is not _NOTHING:
            merged[key] = value
    return merged


def _merged_list(git: list[Any], live: list[Any], paths: Sequence[Path]) -> list[Any]:
    """Items are paired by what identifies them, else by position. Items that are only live are not sent."""
    merged = []
    for index, item in enumerate(git):
        found = _counterpart(item, index, live)
        name = item.get("name") if isinstance(item, Mapping) else None
        below = [path[1:] for path in paths if path[0] in (str(index), name, "*")]
        if any(not path for path in below):
            # An item that was removed is not added again.
            if found is not _NOTHING:
                merged.append(found)
        else:
            merged.append(item if found is _NOTHING else _merged(item, found, below, {}))
    return merged


def _counterpart(item: Any, index: int, live: list[Any]) -> Any:
    if isinstance(item, Mapping):
        for key in _ITEM_KEYS:
            if isinstance(item.get(key), str | int):
                same = [other for other in live if isinstance(other, Mapping) and other.get(key) == item[key]]
                return same[0] if same else _NOTHING
    return live[index] if index < len(live) else _NOTHING


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

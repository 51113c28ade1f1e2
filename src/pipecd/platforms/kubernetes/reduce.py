"""Makes the small records that are kept of live objects. Called by `cluster.follow` for every event.

Everything in an object is bounded here, because its text and its lists may be of any size.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.bounded_dict import BoundedDict
from pipecd.model.resource import Health
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.seen import Later, SeenObject
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.field_owners import SERVER_ANNOTATIONS
from pipecd.platforms.kubernetes.health.fields import epoch_seconds
from pipecd.platforms.kubernetes.health.rules import HealthRules
from pipecd.platforms.kubernetes.health.states import Broken, Ready, State, Waiting
from pipecd.platforms.kubernetes.links import labels_of, links_of
from pipecd.platforms.kubernetes.mark import APPLICATION, belongs_to
from pipecd.platforms.kubernetes.normal import SERVER_METADATA

MAX_REASON_LENGTH = 1_000
_MAX_OWNERS = 16
_MAX_INTERNED = 1_000
_NO_CONTENT = frozenset({"apiVersion", "kind", "metadata", "status"})


class Reducer:
    """Of one cluster."""

    def __init__(self, rules: HealthRules) -> None:
        self._rules = rules
        #: The label sets of pods; those of one workload are equal.
        self._labels = BoundedDict[tuple[tuple[str, str], ...], Mapping[str, str]](_MAX_INTERNED)

    def needs_content(self, kind: ResourceType) -> bool:
        return needs_content(kind)

    def __call__(self, kind: ResourceType, live: Object) -> SeenObject:
        metadata, identity = live["metadata"], (kind.group, kind.kind)
        application = str((metadata.get("annotations") or {}).get(APPLICATION, ""))
        if not application or not belongs_to(live, application):
            application = ""
        state = self._rules.state_of(live, has_status=kind.has_status and self.needs_content(kind))
        health, reason = _health(state)
        return SeenObject(
            uid=str(metadata["uid"]),
            api_version=sys.intern(kind.api_version),
            kind=sys.intern(kind.kind),
            namespace=sys.intern(str(metadata.get("namespace", ""))),
            name=str(metadata["name"]),
            resource_version=str(metadata.get("resourceVersion", "")),
            application=sys.intern(application),
            owners=_owners(metadata),
            health=health,
            reason=reason,
            later=_later(state),
            created_at=epoch_seconds(metadata.get("creationTimestamp")),
            updated_at=_updated_at(metadata),
            generation=int(metadata.get("generation") or 0),
            links=links_of(identity, live),
            labels=self._intern(labels_of(identity, live)),
            content=content_of(kind, live) if application else "",
        )

    def _intern(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        return self._labels.setdefault(tuple(labels.items()), labels)


def _health(state: State) -> tuple[Health, str]:
    match state:
        case Ready(note):
            health = Health.HEALTHY
        case Broken(note):
            health = Health.UNHEALTHY
        case Waiting(note, problem):
            health, note = (Health.UNHEALTHY, problem) if problem else (Health.UNKNOWN, note)
    return health, note[:MAX_REASON_LENGTH]


def _later(state: State) -> Later | None:
    if not isinstance(state, Waiting) or state.then is None:
        return None
    health, reason = _health(state.then)
    return Later(at=state.until, health=health, reason=reason)


def _owners(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    references: Sequence[Mapping[str, Any]] = metadata.get("ownerReferences") or ()
    return tuple(dict.fromkeys(sys.intern(str(reference["uid"])) for reference in references[:_MAX_OWNERS]))


def needs_content(kind: ResourceType) -> bool:
    """Whether objects of the kind are read completely, and not only as metadata."""
    return kind.kind not in ("ConfigMap", "Secret", "ServiceAccount")


def content_of(kind: ResourceType, live: Object) -> str:
    """Identifies everything but the status; the version where the content is not read."""
    if not needs_content(kind):
        return str(live["metadata"].get("resourceVersion", ""))
    metadata = {key: value for key, value in live["metadata"].items() if key not in SERVER_METADATA}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {
            key: value for key, value in annotations.items() if key not in SERVER_ANNOTATIONS
        }
    # Items of a list name no kind.
    body = {key: value for key, value in live.items() if key not in _NO_CONTENT}
    text = json.dumps([metadata, body], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _updated_at(metadata: Mapping[str, Any]) -> int:
    entries: Sequence[Mapping[str, Any]] = metadata.get("managedFields") or ()
    latest = max((str(entry.get("time", "")) for entry in entries), default="")
    return epoch_seconds(latest or metadata.get("creationTimestamp"))

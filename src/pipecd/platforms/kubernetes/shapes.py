"""Refuses manifests whose fields have other types than their kind has, before they are copied or changed.

Pure. Only the fields that this agent reads are checked; the API server checks all of them, but later.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipecd.errors import ConfigError, Place
from pipecd.platforms.kubernetes.manifest import Manifest

_TYPES: Mapping[str, type] = {"{}": Mapping, "[]": list, "text": str, "number": int}
_NAMES = {"{}": "a mapping", "[]": "a list", "text": "a text", "number": "a whole number"}
_RULES = ("spec {}", "spec.rules []", "spec.rules.* {}", "spec.rules.*.name text")
_ROUTE = (
    *_RULES,
    "spec.rules.*.matches []",
    "spec.rules.*.matches.* {}",
    "spec.rules.*.matches.*.headers []",
    "spec.rules.*.backendRefs []",
    "spec.rules.*.backendRefs.* {}",
    *(f"spec.rules.*.backendRefs.*.{name} text" for name in ("name", "kind", "group", "namespace")),
    "spec.rules.*.backendRefs.*.weight number",
)
_SOURCES = (
    *("env.*.valueFrom.configMapKeyRef", "env.*.valueFrom.secretKeyRef"),
    *("envFrom.*.configMapRef", "envFrom.*.secretRef"),
)
_TEMPLATE = (
    *("metadata {}", "metadata.labels {}", "metadata.annotations {}"),
    *("spec {}", "spec.imagePullSecrets []", "spec.volumes []", "spec.volumes.* {}"),
    *("spec.volumes.*.configMap {}", "spec.volumes.*.configMap.name text"),
    *("spec.volumes.*.secret {}", "spec.volumes.*.secret.secretName text"),
    *(
        f"spec.{containers}{field}"
        for containers in ("containers", "initContainers")
        for field in (
            *(" []", ".* {}", ".*.env []", ".*.env.* {}", ".*.env.*.valueFrom {}"),
            *(".*.envFrom []", ".*.envFrom.* {}"),
            *(f".*.{source} {{}}" for source in _SOURCES),
            *(f".*.{source}.name text" for source in _SOURCES),
        )
    ),
)
_WORKLOAD = (
    *("spec.selector {}", "spec.selector.matchLabels {}"),
    *(f"spec.template.{field}" for field in _TEMPLATE),
)
_CRON_JOB = tuple(f"spec.jobTemplate.spec.template.{field}" for field in _TEMPLATE)
#: Kind → its fields with their types. `*` is every item of a list.
_FIELDS: Mapping[str, Sequence[str]] = {
    "Service": ("spec {}", "spec.selector {}", "spec.ports []"),
    "HTTPRoute": _ROUTE,
    "GRPCRoute": _ROUTE,
    "TrafficSplit": (
        "spec {}",
        "spec.backends []",
        "spec.backends.* {}",
        "spec.backends.*.service text",
    ),
    "VirtualService": (
        "spec {}",
        "spec.http []",
        "spec.http.* {}",
        "spec.http.*.name text",
        "spec.http.*.match []",
        "spec.http.*.match.* {}",
        "spec.http.*.match.*.headers {}",
        "spec.http.*.route []",
        "spec.http.*.route.* {}",
        "spec.http.*.route.*.weight number",
        "spec.http.*.route.*.destination {}",
        "spec.http.*.route.*.destination.host text",
        "spec.http.*.route.*.destination.subset text",
    ),
    "CronJob": _CRON_JOB,
    "DestinationRule": (
        "spec {}",
        "spec.host text",
        "spec.subsets []",
        "spec.subsets.* {}",
        "spec.subsets.*.name text",
        "spec.subsets.*.labels {}",
    ),
}


def check_workloads(manifests: Sequence[Manifest]) -> None:
    """`check_shapes` of what contains a pod template."""
    check_shapes([manifest for manifest in manifests if manifest.pod_template])


def check_shapes(manifests: Sequence[Manifest]) -> None:
    """Raises ConfigError with the place of the manifest and the field."""
    for manifest in manifests:
        fields = _FIELDS.get(manifest.kind, _WORKLOAD if manifest.pod_template else ())
        for field in fields:
            path, _, name = field.partition(" ")
            for value in _values(manifest.body, path.split(".")):
                if not isinstance(value, _TYPES[name]) or (name == "number" and isinstance(value, bool)):
                    place = Place(manifest.place.file, manifest.place.line, path)
                    raise ConfigError(
                        f"the field of {manifest} is not {_NAMES[name]}",
                        remedy="correct it",
                        place=place,
                    )


def _values(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """The values at the path. One that is absent or null has none, but an item of a list must not be null."""
    if not path:
        if value is not None:
            yield value
    elif path[0] == "*" and isinstance(value, list):
        for item in value:
            yield from _values("null" if item is None else item, path[1:])
    elif isinstance(value, Mapping):
        yield from _values(value.get(path[0]), path[1:])

"""The hash that makes workloads restart when a ConfigMap or Secret of the application changes.

The same value as PipeCD's, so that another agent restarts nothing. Our additions: `stringData` of Secrets is
hashed, and StatefulSets, DaemonSets and CronJobs have the annotation too.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.secret import data_of

ANNOTATION = "pipecd.dev/config-hash"
_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
_DIGITS = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})


def with_config_hashes(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Workloads with the hash of the ConfigMaps and Secrets of `manifests` that they refer to, if any."""
    configs = {
        (manifest.kind, manifest.name): manifest
        for manifest in manifests
        if manifest.kind in ("ConfigMap", "Secret") and manifest.group == ""
    }
    return [_with_hash(manifest, configs) if manifest.kind in _KINDS else manifest for manifest in manifests]


def _with_hash(manifest: Manifest, configs: Mapping[tuple[str, str], Manifest]) -> Manifest:
    references = sorted(set(_references(manifest.pod_template)))
    used = [configs[reference] for reference in references if reference in configs]
    if not used:
        return manifest
    value = config_hash(used)
    body: dict[str, Any] = {**manifest.body}
    path = ("spec", "jobTemplate", "spec", "template") if manifest.kind == "CronJob" else ("spec", "template")
    at = body
    for part in (*path, "metadata", "annotations"):
        at[part] = {**(at.get(part) or {})}
        at = at[part]
    at[ANNOTATION] = value
    return Manifest(body, manifest.place)


def config_hash(configs: Sequence[Manifest]) -> str:
    """Ten letters and digits. ConfigMaps must come first, each kind by name."""
    text = "".join(_content(config) for config in configs)
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_DIGITS)


def _content(config: Manifest) -> str:
    body = config.body
    content: dict[str, Any] = {"kind": config.kind, "name": body["metadata"].get("name", "")}
    content["data"] = body.get("data")
    if config.kind == "Secret":
        content["type"] = body.get("type", "")
        content["data"] = data_of(body)
    elif "binaryData" in body:
        content["binaryData"] = body["binaryData"]
    if "immutable" in body:
        content["immutable"] = body["immutable"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # As Go's encoder writes them.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _references(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    spec = template.get("spec") or {}
    for volume in spec.get("volumes") or ():
        if name := (volume.get("configMap") or {}).get("name"):
            yield "ConfigMap", name
        if name := (volume.get("secret") or {}).get("secretName"):
            yield "Secret", name
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if name := (source.get(key) or {}).get("name"):
                    yield kind, name
        for source in container.get("envFrom") or ():
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if name := (source.get(key) or {}).get("name"):
                    yield kind, name

"""What is changed in a manifest before it is sent, where server-side apply differs from `kubectl apply`."""

from collections.abc import Callable, Mapping
from typing import Any

from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import MANAGER
from pipecd.platforms.kubernetes.secret import data_of, is_secret

Log = Callable[[str], None]

#: Fields of `metadata` that belong to the server; present in manifests copied from a cluster.
SERVER_METADATA = frozenset(
    {
        *("creationTimestamp", "managedFields", "uid", "resourceVersion"),
        *("generation", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"),
    }
)


def normalize(manifest: Manifest, live: Mapping[str, Any] | None, log: Log) -> dict[str, Any]:
    """The body to send. `live` is the object in the cluster, or None. Logs what users may miss."""
    body = dict(manifest.body)
    if manifest.kind != "CustomResourceDefinition":
        body.pop("status", None)
    body["metadata"] = {
        key: value for key, value in manifest.body["metadata"].items() if key not in SERVER_METADATA
    }
    if is_secret(body) and "stringData" in body:
        # Server-side apply never removes a key that was once in `stringData`.
        data = data_of(body)
        del body["stringData"]
        if data is not None:
            body["data"] = data
    if manifest.pod_template:
        body["spec"] = _without_duplicate_variables(body["spec"], manifest, log)
    return _without_scaled_replicas(body, manifest, live, log)


def _without_duplicate_variables(value: Any, manifest: Manifest, log: Log) -> Any:
    """kubectl takes two variables of one name, and uses the last; server-side apply refuses them."""
    if isinstance(value, list):
        return [_without_duplicate_variables(item, manifest, log) for item in value]
    if not isinstance(value, Mapping):
        return value
    changed = {key: _without_duplicate_variables(item, manifest, log) for key, item in value.items()}
    variables = value.get("env")
    if "image" in value and isinstance(variables, list):
        by_name: dict[Any, Any] = {}
        for variable in variables:
            name = variable.get("name") if isinstance(variable, Mapping) else None
            if name in by_name:
                log(f"{manifest}: the variable {name} is set twice; the last value is used")
                del by_name[name]
            by_name[name] = variable
        changed["env"] = list(by_name.values())
    return changed


def _without_scaled_replicas(
    body: dict[str, Any], manifest: Manifest, live: Mapping[str, Any] | None, log: Log
) -> dict[str, Any]:
    """An autoscaler writes the count through the subresource `scale`, and keeps it."""
    spec = body.get("spec")
    if live is None or not isinstance(spec, Mapping) or "replicas" not in spec:
        return body
    scaler = _scaler(live)
    if scaler is None:
        return body
    current = (live.get("spec") or {}).get("replicas")
    if current != spec["replicas"]:
        log(f"{manifest}: {scaler} controls the replicas; keeping them at {current}")
    return {**body, "spec": {key: value for key, value in spec.items() if key != "replicas"}}


def _scaler(live: Mapping[str, Any]) -> str | None:
    """The manager that scaled the workload and is not a person with kubectl."""
    for entry in live["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        scaled = entry.get("subresource") == "scale" and "f:replicas" in fields
        if scaled and not manager.startswith(("kubectl", MANAGER)):
            return manager
    return None

"""What is changed in a manifest before it is sent, where server-side apply differs from `kubectl apply`."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.secret import data_of, is_secret

Log = Callable[[str], None]

#: Fields of `metadata` that belong to the server; present in manifests copied from a cluster.
SERVER_METADATA = frozenset(
    {
        *("creationTimestamp", "managedFields", "uid", "resourceVersion"),
        *("generation", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"),
    }
)
#: Kinds with certificates of webhooks, by group, and the paths to their `clientConfig`; `*` is every item.
_CLIENT_CONFIGS = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec", "conversion", "webhook", "clientConfig"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): ("webhooks", "*", "clientConfig"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): ("webhooks", "*", "clientConfig"),
    ("apiregistration.k8s.io", "APIService"): ("spec",),
}


def normalize(manifest: Manifest, log: Log) -> dict[str, Any]:
    """The body to send. Logs what users may miss."""
    body = dict(manifest.body)
    if manifest.kind != "CustomResourceDefinition":
        body.pop("status", None)
    body["metadata"] = {
        key: value for key, value in manifest.body["metadata"].items() if key not in SERVER_METADATA
    }
    if manifest.kind == "ClusterRole" and body.get("aggregationRule"):
        # A controller writes the rules of other roles here.
        body.pop("rules", None)
    if is_secret(body) and "stringData" in body:
        # Server-side apply never removes a key that was once in `stringData`.
        data = data_of(body)
        del body["stringData"]
        if data is not None:
            body["data"] = data
    if manifest.pod_template or (manifest.group, manifest.kind) == ("", "Pod"):
        body["spec"] = _without_duplicate_variables(body["spec"], manifest, log)
    if path := _CLIENT_CONFIGS.get((manifest.group, manifest.kind)):
        body = _without_false_certificates(body, path)
    return body


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
            if not isinstance(name, str):
                # The server refuses it, and says why.
                return changed
            if name in by_name:
                log(f"{manifest}: the variable {name} is set twice; the last value is used")
                del by_name[name]
            by_name[name] = variable
        changed["env"] = list(by_name.values())
    return changed


def _without_false_certificates(tree: Any, path: tuple[str, ...]) -> Any:
    """Charts have placeholders such as `Cg==` for what a controller fills in; the server refuses them."""
    if not path:
        certificate = tree.get("caBundle") if isinstance(tree, Mapping) else None
        if certificate is None or _is_certificate(certificate):
            return tree
        return {key: value for key, value in tree.items() if key != "caBundle"}
    if path[0] == "*":
        return (
            [_without_false_certificates(item, path[1:]) for item in tree] if isinstance(tree, list) else tree
        )
    if not isinstance(tree, Mapping) or path[0] not in tree:
        return tree
    return {**tree, path[0]: _without_false_certificates(tree[path[0]], path[1:])}


def _is_certificate(value: Any) -> bool:
    """Whether a text in base64 contains a certificate in PEM."""
    try:
        return b"-----BEGIN CERTIFICATE-----" in base64.b64decode(value, validate=False)
    except (TypeError, ValueError, binascii.Error):
        return False

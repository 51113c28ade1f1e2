"""What is written on every object, and whose an object is.

The annotations are those of PipeCD, so that its agent can take an application over. Operators copy
annotations and labels to their own objects. They do not copy field managers, which therefore prove that this
agent applied an object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipecd.errors import Refused
from pipecd.platforms.kubernetes.manifest import DEFAULT_NAMESPACE, Manifest

#: The field manager of everything that this agent applies.
MANAGER = "pipecd"
PREFIX = "pipecd.dev/"
MANAGED_BY, PIPED, APPLICATION = PREFIX + "managed-by", PREFIX + "piped", PREFIX + "application"
COMMIT, RESOURCE_KEY = PREFIX + "commit-hash", PREFIX + "resource-key"
ORIGINAL_API_VERSION = PREFIX + "original-api-version"
#: Read from manifests. Its value "true" takes an object over from another owner.
ADOPT = PREFIX + "adopt"
#: Managers of kubectl, and of PipeCD's agent, which runs kubectl.
KUBECTL_MANAGERS = frozenset(
    {"kubectl-client-side-apply", "kubectl", "kubectl-replace", "kubectl-create", "before-first-apply"}
)

_ARGO = "argocd.argoproj.io/tracking-id"
#: Labels and annotations of other tools → the tool.
_OTHER_OWNERS = {
    _ARGO: "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
}


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Whose objects a stage applies. `variant` is the key and the value of the variant label."""

    piped: str
    application: str
    commit: str
    variant: tuple[str, str]

    def mark(self, manifest: Manifest) -> Manifest:
        """`manifest` with the annotations and labels of this application."""
        metadata = dict(manifest.body["metadata"])
        metadata["annotations"] = {
            **manifest.annotations,
            MANAGED_BY: "piped",
            PIPED: self.piped,
            APPLICATION: self.application,
            COMMIT: self.commit,
            RESOURCE_KEY: resource_key(manifest),
            ORIGINAL_API_VERSION: manifest.api_version,
            self.variant[0]: self.variant[1],
        }
        metadata["labels"] = {**manifest.labels, MANAGED_BY: "piped", APPLICATION: self.application}
        return Manifest({**manifest.body, "metadata": metadata}, manifest.place)


def resource_key(manifest: Manifest) -> str:
    """`apiVersion:kind:namespace:name` as PipeCD writes it: `default` also where there is no namespace.

    Also the key in `driftDetection.ignoreFields`.
    """
    namespace = manifest.namespace or DEFAULT_NAMESPACE
    return f"{manifest.api_version}:{manifest.kind}:{namespace}:{manifest.name}"


def belongs_to(live: Mapping[str, Any], application: str) -> bool:
    """Whether this agent, or PipeCD's, applied the live object for the application.

    Requires `metadata` only. False for a copy that another program made of such an object.
    """
    metadata = live["metadata"]
    annotations = metadata.get("annotations") or {}
    if annotations.get(APPLICATION) != application or metadata.get("ownerReferences"):
        return False
    # The name may contain colons.
    _, _, namespace, name = (annotations.get(RESOURCE_KEY, "").split(":", 3) + [""] * 4)[:4]
    if (namespace, name) != (metadata.get("namespace") or DEFAULT_NAMESPACE, metadata["name"]):
        return False
    managers = {entry.get("manager") for entry in metadata.get("managedFields") or ()}
    return MANAGER in managers or bool(managers & KUBECTL_MANAGERS)


def check_owner(live: Mapping[str, Any], manifest: Manifest, application: str) -> None:
    """Raises Refused if the live object belongs to another application or tool, and is not adopted."""
    if manifest.annotations.get(ADOPT) == "true":
        return
    metadata = live["metadata"]
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    owner = (metadata.get("annotations") or {}).get(APPLICATION, "")
    if owner == application:
        return
    if owner:
        described = f"the application {owner}"
    else:
        described = next(
            (f"{tool} ({marks[key]})" for key, tool in _OTHER_OWNERS.items() if key in marks), ""
        )
    if described:
        raise Refused(
            f"{manifest} exists, and belongs to {described}",
            remedy=f'remove it there, or annotate it here with {ADOPT}: "true" to take it over',
            place=manifest.place,
        )


def foreign_marks(live: Mapping[str, Any]) -> list[str]:
    """Annotations that would make another tool delete the object after it was adopted."""
    return [key for key in (_ARGO,) if key in (live["metadata"].get("annotations") or {})]

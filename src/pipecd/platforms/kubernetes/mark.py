"""What is written on every object, and whose an object is.

The annotations are those of PipeCD, so that its agent can take an application over. Operators copy
annotations and labels to their own objects. They do not copy field managers, which therefore prove that this
agent applied an object.
"""

from collections.abc import Iterator, Mapping, Sequence
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
#: Of the name of an owner, in messages, in characters.
_MAX_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Another tool that deploys objects. `marks` are the annotations and labels by which it finds its own.

    `managers` are its field managers.
    """

    name: str
    marks: Sequence[tuple[str, str]]
    managers: frozenset[str]


_TOOLS = (
    Tool(
        name="Argo CD",
        marks=[("annotations", "argocd.argoproj.io/tracking-id")],
        managers=frozenset({"argocd-controller", "argocd-application-controller"}),
    ),
    Tool(
        name="Flux",
        marks=[
            ("labels", "kustomize.toolkit.fluxcd.io/name"),
            ("labels", "kustomize.toolkit.fluxcd.io/namespace"),
            ("labels", "helm.toolkit.fluxcd.io/name"),
            ("labels", "helm.toolkit.fluxcd.io/namespace"),
        ],
        managers=frozenset({"kustomize-controller", "helm-controller"}),
    ),
    Tool(
        name="Helm",
        marks=[
            ("annotations", "meta.helm.sh/release-name"),
            ("annotations", "meta.helm.sh/release-namespace"),
        ],
        managers=frozenset({"helm"}),
    ),
)


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
    # The name may contain colons. PipeCD v1 leaves the namespace empty where the manifest does.
    _, _, namespace, name = (annotations.get(RESOURCE_KEY, "").split(":", 3) + [""] * 4)[:4]
    namespaces = ("", metadata.get("namespace") or DEFAULT_NAMESPACE)
    if name != metadata["name"] or namespace not in namespaces:
        return False
    managers = {entry.get("manager") for entry in metadata.get("managedFields") or ()}
    return MANAGER in managers or bool(managers & KUBECTL_MANAGERS)


def check_owner(live: Mapping[str, Any], manifest: Manifest, application: str) -> None:
    """Raises Refused if the live object belongs to another application or tool, and is not adopted."""
    owner = (live["metadata"].get("annotations") or {}).get(APPLICATION, "")
    if owner == application or manifest.annotations.get(ADOPT) == "true":
        return
    tools = [(tool.name, value) for tool in _TOOLS for *_, value in _found_marks(live, tool)]
    if not owner and not tools:
        return
    if owner:
        described = f"the application {owner[:_MAX_SHOWN]}"
        remedy = "remove it there, or, also if that application no longer exists, annotate it here"
    else:
        described = f"{tools[0][0]} ({tools[0][1][:_MAX_SHOWN]})"
        remedy = "remove it there, or annotate it here"
    raise Refused(
        f"{manifest} exists, and belongs to {described}",
        remedy=f'{remedy} with {ADOPT}: "true" to take it over',
        place=manifest.place,
    )


def tracking_marks(live: Mapping[str, Any], manifest: Manifest) -> list[tuple[str, str]]:
    """Annotations and labels that would make another tool delete the object after it was adopted.

    Pairs of `annotations` or `labels`, and the key. Without those that the manifest itself has.
    """
    declared = {"annotations": manifest.annotations, "labels": manifest.labels}
    return [
        (name, key)
        for tool in _TOOLS
        for name, key, _ in _found_marks(live, tool)
        if key not in declared[name]
    ]


def tool_managers(live: Mapping[str, Any]) -> frozenset[str]:
    """The field managers of the tools that deployed the object."""
    found = [tool.managers for tool in _TOOLS if any(_found_marks(live, tool))]
    return frozenset().union(*found)


def _found_marks(live: Mapping[str, Any], tool: Tool) -> Iterator[tuple[str, str, str]]:
    """Of one tool on an object: `annotations` or `labels`, the key, and the value."""
    for name, key in tool.marks:
        marks = live["metadata"].get(name) or {}
        if key in marks:
            yield name, key, str(marks[key])

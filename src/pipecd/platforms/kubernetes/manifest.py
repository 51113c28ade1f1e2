"""Manifests: the objects that an application declares, with what is asked about them.

A manifest is a tree as the API has it; nothing that this agent does not know is lost. Documents are checked
here for what no API server can name a place for.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecd.errors import ConfigError, Place
from pipecd.platforms.kubernetes import argo
from pipecd.platforms.kubernetes.cluster.types import check_path_segment, split_api_version
from pipecd.platforms.kubernetes.yaml_reader import Document, Warned, read_documents

#: Of one application. Rendering is bounded in time elsewhere.
MAX_MANIFESTS = 5000
MAX_BYTES = 32 * 1024 * 1024
#: PipeCD's keys name a namespace also where there is none.
DEFAULT_NAMESPACE = "default"
#: The annotation of Helm's hooks.
HOOK = "helm.sh/hook"
#: That of this agent.
PIPECD_HOOK = "pipecd.dev/hook"


@dataclass(frozen=True, order=True)
class Key:
    """Which object it is. The version is not part of it: one object can be read in several."""

    group: str
    kind: str
    #: Empty for the default namespace, and for kinds without namespaces.
    namespace: str
    name: str

    def __str__(self) -> str:
        """`Deployment web in shop`."""
        return f"{self.kind} {self.name}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True)
class Manifest:
    """One object, as written. `place` is where it is declared. `body` must not be changed."""

    body: Mapping[str, Any]
    place: Place = field(default=Place(""), compare=False)

    @property
    def api_version(self) -> str:
        return str(self.body["apiVersion"])

    @property
    def group(self) -> str:
        return split_api_version(self.api_version)[0]

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """As written; empty if none is."""
        return str(self.body["metadata"].get("namespace") or "")

    @property
    def labels(self) -> Mapping[str, str]:
        return self.body["metadata"].get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.body["metadata"].get("annotations") or {}

    @property
    def key(self) -> Key:
        namespace = "" if self.namespace == DEFAULT_NAMESPACE else self.namespace
        return Key(self.group, self.kind, namespace, self.name)

    @property
    def spec(self) -> Mapping[str, Any]:
        spec = self.body.get("spec")
        return spec if isinstance(spec, Mapping) else {}

    @property
    def pod_template(self) -> Mapping[str, Any]:
        """That of a workload; empty for other kinds."""
        template = self.spec.get("template")
        if self.kind == "CronJob":
            job = self.spec.get("jobTemplate") or {}
            template = (job.get("spec") or {}).get("template")
        return template if isinstance(template, Mapping) else {}

    @property
    def images(self) -> Sequence[str]:
        """Those of the containers of a workload, without the init containers."""
        return list(_images(self.pod_template))

    def __str__(self) -> str:
        return str(self.key)


def _images(template: Mapping[str, Any]) -> Iterator[str]:
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    for container in containers if isinstance(containers, list) else ():
        if isinstance(container, Mapping) and isinstance(container.get("image"), str):
            yield container["image"]


def digest(manifests: Sequence[Manifest]) -> str:
    """Equal for equal manifests in the same order."""
    bodies = [manifest.body for manifest in manifests]
    return hashlib.sha256(json.dumps(bodies, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class ManifestReader:
    """Collects the manifests of an application from its files or from the output of a renderer."""

    def __init__(
        self, *, runs_hooks: bool = False, max_manifests: int = MAX_MANIFESTS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._max_manifests, self._max_bytes = max_manifests, max_bytes
        #: Whether hooks may have a `generateName` instead of a name, and are not left out.
        self._runs_hooks = runs_hooks
        self.manifests: list[Manifest] = []
        self.warnings: list[Warned] = []
        #: Whether hooks of Helm are left out, and the names of those that were.
        self.leaves_out_hooks = False
        self.hooks: list[str] = []
        self._places: dict[Key, Place] = {}
        self._bytes = 0

    def read(self, text: str, file: str) -> None:
        """Adds the objects of a YAML or JSON stream. Raises ConfigError. Call it in a thread.

        Of Helm's output, the template that a document comes from is shown with it.
        """
        self._bytes += len(text)
        if self._bytes > self._max_bytes:
            raise ConfigError(
                f"the manifests are larger than {self._max_bytes >> 20} MiB",
                remedy="split the application",
                place=Place(file),
            )
        lines = text.splitlines() if "\n# Source: " in f"\n{text[:1000]}" else []
        for document in read_documents(text, file, self.warnings):
            source = _template(lines, document.line())
            for path, body in objects_of(document.data):
                hook = _hook(body)
                if hook and self.leaves_out_hooks and not self._runs_hooks:
                    self.hooks.append(hook)
                    continue
                body = _with_name(
                    body, (HOOK, argo.HOOK, PIPECD_HOOK) if self._runs_hooks else (PIPECD_HOOK,)
                )
                self._add(document, path, body, Place(file, document.line(path)), source)

    def _add(
        self, document: Document, path: tuple[str | int, ...], body: Any, place: Place, source: str
    ) -> None:
        try:
            _check(document, path, body, place)
        except ConfigError as error:
            template = f", from {source}" if source else ""
            raise ConfigError(
                f"document {document.number}{template}: {error.what}", remedy=error.remedy, place=error.place
            ) from None
        manifest = Manifest(body, place)
        if manifest.key in self._places:
            raise ConfigError(
                f"{manifest} is declared twice, also in {self._places[manifest.key]}",
                remedy="remove one of them",
                place=place,
            )
        self._places[manifest.key] = place
        self.manifests.append(manifest)
        if len(self.manifests) > self._max_manifests:
            raise ConfigError(
                f"the application has more than {self._max_manifests} objects",
                remedy="split it",
                place=place,
            )


def _with_name(body: Any, annotations_of_hooks: Sequence[str]) -> Any:
    """A hook whose name is generated, with a name: each of its runs gets a name of its own anyway."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    if not isinstance(metadata, Mapping) or metadata.get("name"):
        return body
    prefix, annotations = metadata.get("generateName"), metadata.get("annotations")
    is_hook = isinstance(annotations, Mapping) and not annotations.keys().isdisjoint(annotations_of_hooks)
    if not is_hook or not isinstance(prefix, str) or not prefix.strip("-."):
        return body
    return {**body, "metadata": {**metadata, "name": prefix.rstrip("-.")}}


def _hook(body: Any) -> str:
    """The kind, name and moment of an object that Helm runs at a moment of its own; empty for others."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(annotations, Mapping) or HOOK not in annotations:
        return ""
    assert isinstance(metadata, Mapping)
    name = metadata.get("name") or metadata.get("generateName")
    return f"{str(body.get('kind'))[:63]} {str(name)[:253]} ({str(annotations[HOOK])[:100]})"


def _template(lines: Sequence[str], line: int) -> str:
    """Helm writes `# Source: chart/templates/web.yaml` above each document."""
    for above in reversed(lines[max(0, line - 3) : max(0, line - 1)]):
        if above.startswith("# Source: "):
            return above.removeprefix("# Source: ").strip()
    return ""


def objects_of(data: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The object of a document, or those of a list, with their paths in it."""
    if not isinstance(data, Mapping) or not str(data.get("kind", "")).endswith("List"):
        yield (), data
        return
    items = data.get("items")
    if not isinstance(items, list):
        if data["kind"] != "List":
            yield (), data
        return
    inherited = {"apiVersion": data.get("apiVersion"), "kind": str(data["kind"]).removesuffix("List")}
    for index, item in enumerate(items):
        # The items of a list of one kind need not name it.
        named = {**inherited, **item} if inherited["kind"] and isinstance(item, Mapping) else item
        for path, nested in objects_of(named):
            yield ("items", index, *path), nested


def _check(document: Document, path: tuple[str | int, ...], body: Any, place: Place) -> None:
    if not isinstance(body, Mapping):
        raise ConfigError(
            "is not a Kubernetes object", remedy="write apiVersion, kind and metadata", place=place
        )
    for key in ("apiVersion", "kind"):
        if not isinstance(body.get(key), str) or not body[key]:
            raise _missing(key, place)
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        raise _missing("metadata", place)
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        if metadata.get("generateName"):
            raise ConfigError(
                "generateName gives a new object at every sync",
                remedy="write metadata.name",
                place=Place(
                    place.file, document.line((*path, "metadata", "generateName")), "metadata.generateName"
                ),
            )
        raise _missing("metadata.name", place)
    namespace = metadata.get("namespace") or ""
    for key, value in (("metadata.name", name), ("metadata.namespace", namespace)):
        if not isinstance(value, str):
            raise _not_text(document, path, ("metadata", key.rpartition(".")[2]), value, place)
        check_path_segment(value)
    for parts in _text_maps(body):
        _check_texts(document, path, body, parts, place)


def _text_maps(body: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Paths of mappings whose values must be text."""
    yield from (("metadata", "labels"), ("metadata", "annotations"))
    if body["kind"] in ("ConfigMap", "Secret") and body["apiVersion"] == "v1":
        yield from (("data",), ("stringData",), ("binaryData",))
    if body["kind"] == "CronJob":
        yield from (
            ("spec", "jobTemplate", "spec", "template", "metadata", name)
            for name in ("labels", "annotations")
        )
    else:
        yield from (("spec", "template", "metadata", name) for name in ("labels", "annotations"))


def _check_texts(
    document: Document, path: tuple[str | int, ...], body: Any, parts: tuple[str, ...], place: Place
) -> None:
    value = body
    for part in parts:
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        # Below `spec`, kinds of others may have anything.
        if value is None or parts[0] == "spec":
            return
        raise ConfigError(
            "is not a mapping of names to texts",
            remedy="write one `name: text` in each line",
            place=Place(place.file, document.line((*path, *parts)), ".".join(parts)),
        )
    for key, item in value.items():
        if isinstance(item, bool | int | float | list | Mapping):
            raise _not_text(document, path, (*parts, key), item, place)


def _not_text(
    document: Document, path: tuple[str | int, ...], parts: tuple[str, ...], value: Any, place: Place
) -> ConfigError:
    what = (
        "a boolean"
        if isinstance(value, bool)
        else "a number"
        if isinstance(value, int | float)
        else "a list"
        if isinstance(value, list)
        else "not text"
    )
    return ConfigError(
        f"the value is {what}, and must be text",
        remedy="put it in quotes",
        place=Place(place.file, document.line((*path, *parts)), ".".join(parts)),
    )


def _missing(key: str, place: Place) -> ConfigError:
    return ConfigError(f"{key} is missing", remedy="add it", place=place)

"""The manifest of a service or a job: read from Git, and the body that is sent to Google.

The file is an object of the Cloud Run Admin API v1, and is sent as it is written. Google checks it; what is
checked here are the keys that the agent itself needs.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.config.document import dotted_path, read, read_file
from pipecd.config.spelling import SpelledBool
from pipecd.errors import ConfigError, Place
from pipecd.model.stage import Source
from pipecd.platforms.images import image_tag

#: Labels of PipeCD on everything that an agent deploys.
MANAGED_BY, PIPED, APPLICATION, COMMIT, REVISION = (
    "pipecd-dev-managed-by",
    "pipecd-dev-piped",
    "pipecd-dev-application",
    "pipecd-dev-commit-hash",
    "pipecd-dev-revision-name",
)
#: Annotation of a revision: the digest of the manifest's template, by which a revision is found again.
TEMPLATE = "pipecd.dev/template"
#: Google's limit for names and labels (characters).
MAX_NAME = 63
#: `metadata` that the server writes.
SERVER_METADATA = frozenset(
    {
        *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "generation"),
        *("managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"),
    }
)
#: Mappings whose values are text, so that an unquoted number is meant as text.
_TEXT_MAPPINGS = ("labels", "annotations", "nodeSelector", "limits", "requests")
_KINDS = {"Service": "serving.knative.dev/v1", "Job": "run.googleapis.com/v1"}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`body` is the object as written, without what only the server writes."""

    body: Mapping[str, Any]
    file: str

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def is_job(self) -> bool:
        return self.kind == "Job"

    @property
    def key(self) -> str:
        """As in `driftDetection.ignoreFields`."""
        return f"{self.body['apiVersion']}:{self.kind}::{self.name}"

    @property
    def containers(self) -> Sequence[Mapping[str, Any]]:
        template = self.body["spec"]["template"]["spec"]
        return list((template["template"]["spec"] if self.is_job else template)["containers"])

    @property
    def images(self) -> Sequence[str]:
        """That of the first container is the version of the application."""
        return [str(container["image"]) for container in self.containers]

    @property
    def pinned_revision(self) -> str:
        """The name of the revision if the manifest sets one."""
        return str((self.body["spec"]["template"].get("metadata") or {}).get("name") or "")

    @property
    def traffic(self) -> Sequence[Mapping[str, Any]]:
        return list(self.body["spec"].get("traffic") or ())

    @property
    def template_digest(self) -> str:
        """Of the template without its name."""
        template = self.body["spec"]["template"]
        metadata = {key: value for key, value in (template.get("metadata") or {}).items() if key != "name"}
        text = json.dumps({**template, "metadata": metadata}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def load_manifest(source: Source) -> Manifest:
    """Raises ConfigError with file, line and key."""
    app_input = source.config.spec.input
    job = bool(app_input.job_manifest_file)
    name, key = (
        (app_input.job_manifest_file, "input.jobManifestFile")
        if job
        else (app_input.service_manifest_file, "input.serviceManifestFile")
    )
    path = source.directory / name
    file = source.relative(path)
    data, lines = read(read_file(path, file, missing=f"create it, or correct {key}"), file)
    return parse_manifest(data, lines, file, "Job" if job else "Service")


def parse_manifest(
    data: Mapping[str, Any], lines: Mapping[tuple[str | int, ...], int], file: str, kind: str
) -> Manifest:
    """Raises ConfigError for a manifest that is not an object of `kind`, or lacks what the agent needs."""
    checker = _Checker(lines, file)
    if data.get("kind") != kind:
        other = {"Job": "input.jobManifestFile", "Service": "input.serviceManifestFile"}.get(
            str(data.get("kind"))
        )
        remedy = f"set {other}, or write kind: {kind}" if other else f"write kind: {kind}"
        raise checker.error(("kind",), f"is {data.get('kind') or 'missing'}, not {kind}", remedy)
    if data.get("apiVersion") != _KINDS[kind]:
        raise checker.error(
            ("apiVersion",),
            f"is {data.get('apiVersion') or 'missing'}, not {_KINDS[kind]}",
            f"write apiVersion: {_KINDS[kind]}",
        )
    metadata = checker.mapping(data, ("metadata",))
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise checker.error(("metadata", "name"), "is missing", "add the name")
    path: tuple[str | int, ...] = ("spec", "template", "spec")
    path = (*path, "template", "spec") if kind == "Job" else path
    inner = checker.mapping(data, path)
    containers = inner.get("containers")
    if not isinstance(containers, list) or not containers:
        raise checker.error((*path, "containers"), "is missing", "add a container")
    for at, container in enumerate(containers):
        if not isinstance(container, Mapping) or not isinstance(container.get("image"), str):
            raise checker.error((*path, "containers", at, "image"), "is missing", "add the image")
    traffic = data["spec"].get("traffic")
    if not isinstance(traffic, list | None) or any(not isinstance(item, Mapping) for item in traffic or ()):
        raise checker.error(("spec", "traffic"), "is not a list of mappings", "see the Cloud Run reference")
    plain = _plain({key: value for key, value in data.items() if key != "status"})
    kept = {key: value for key, value in plain["metadata"].items() if key not in SERVER_METADATA}
    return Manifest(body={**plain, "metadata": kept}, file=file)


@dataclass(frozen=True)
class _Checker:
    lines: Mapping[tuple[str | int, ...], int]
    file: str

    def error(self, path: tuple[str | int, ...], what: str, remedy: str) -> ConfigError:
        nearest = path
        while nearest and nearest not in self.lines:
            nearest = nearest[:-1]
        place = Place(self.file, self.lines.get(nearest, 1), dotted_path(path))
        return ConfigError(what, remedy=remedy, place=place)

    def mapping(self, data: Mapping[str, Any], path: tuple[str | int, ...]) -> Mapping[str, Any]:
        """The mapping at `path`; every part of the path must be one."""
        current: Any = data
        for depth, key in enumerate(path, 1):
            current = current.get(key)
            if not isinstance(current, Mapping):
                raise self.error(path[:depth], "is missing", "add it")
            metadata = current.get("metadata")
            if metadata is not None and not isinstance(metadata, Mapping):
                raise self.error((*path[:depth], "metadata"), "is not a mapping", "correct it")
        found: Mapping[str, Any] = current
        return found


def _plain(value: Any, *, text: bool = False) -> Any:
    """Without the spelling of numbers, but as written where Google expects text."""
    if isinstance(value, Mapping):
        named = "name" in value
        return {
            str(key): _plain(item, text=text or key in _TEXT_MAPPINGS or (named and key == "value"))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if text and isinstance(value, bool):
        return "true" if value else "false"
    if text and isinstance(value, int | float):
        return str(value)
    if isinstance(value, SpelledBool):
        return bool(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value


def revision_name(manifest: Manifest, commit: str, attempt: int = 1) -> str:
    """The name of the commit's revision, PipeCD's where Cloud Run allows it. `attempt` counts from 1."""
    if manifest.pinned_revision:
        return manifest.pinned_revision
    tag = image_tag(manifest.images[0])
    if ":" in tag:
        algorithm, _, digest = tag.partition(":")
        tag = f"{algorithm[:3]}-{digest[:8]}"
    tag = re.sub(r"[^a-z0-9-]", "-", tag.replace(".", "").lower()).strip("-")
    ending = f"-{commit[:7].lower().strip('-')}" + (f"-{attempt}" if attempt > 1 else "")
    available = MAX_NAME - len(manifest.name) - len(ending) - 1
    middle = tag[: max(available, 0)].strip("-")
    return f"{manifest.name}-{middle}{ending}" if middle else f"{manifest.name}{ending}"


def labels(piped: str, application: str, commit: str) -> Mapping[str, str]:
    """PipeCD's labels. Google allows lower-case letters, digits, hyphens and underscores."""
    values = {MANAGED_BY: "piped", PIPED: piped, APPLICATION: application, COMMIT: commit}
    return {key: label_value(value) for key, value in values.items()}


def label_value(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:MAX_NAME]


def with_metadata(body: Mapping[str, Any], project: str, marks: Mapping[str, str]) -> dict[str, Any]:
    """`body` with PipeCD's labels, in the project's namespace."""
    metadata = dict(body["metadata"])
    metadata["namespace"] = metadata.get("namespace") or project
    metadata["labels"] = {**(metadata.get("labels") or {}), **marks}
    return {**body, "metadata": metadata}


def with_revision(manifest: Manifest, name: str, marks: Mapping[str, str]) -> dict[str, Any]:
    """The template of the revision `name`."""
    template = manifest.body["spec"]["template"]
    metadata = dict(template.get("metadata") or {})
    metadata["name"] = name
    metadata["labels"] = {**(metadata.get("labels") or {}), **marks, REVISION: name}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), TEMPLATE: manifest.template_digest}
    return {**template, "metadata": metadata}

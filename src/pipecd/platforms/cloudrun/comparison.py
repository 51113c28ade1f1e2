"""What a sync would change, as Google itself determines it. Called by drift detection and plan preview.

The object is sent as a dry run, and its answer is compared with the live object: both have Google's defaults.
Where the answer to the live object itself differs from it, the difference says nothing, and is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipecd.errors import Refused
from pipecd.platforms.cloudrun.client import CloudRunClient, Object, Plural
from pipecd.platforms.cloudrun.manifest import TEMPLATE, Manifest, with_metadata

#: Prefixes of labels and annotations that the server or an agent writes.
_SERVER_LABELS = ("cloud.googleapis.com/", "pipecd-dev-", "client.knative.dev/")
_SERVER_ANNOTATIONS = frozenset(
    {
        TEMPLATE,
        *(f"serving.knative.dev/{name}" for name in ("creator", "lastModifier")),
        *(
            f"run.googleapis.com/{name}"
            for name in (
                *(
                    "client-name",
                    "client-version",
                    "creator",
                    "lastModifier",
                    "operation-id",
                    "ingress-status",
                ),
                *("urls", "build-id", "build-image-uri"),
            )
        ),
        *("client.knative.dev/user-image", "client.knative.dev/nonce"),
    }
)
_TOKENS = ("startExecutionToken", "runExecutionToken")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`live` is None if there is no such object. `exact`: all differences count: both sides come from Google.

    `refused`: Google's reason why it would not accept the manifest.
    """

    live: Mapping[str, Any] | None
    wanted: Mapping[str, Any]
    exact: bool
    refused: str = ""


async def compare_with_live(client: CloudRunClient, manifest: Manifest) -> Comparison:
    plural: Plural = "jobs" if manifest.is_job else "services"
    live = await client.find(plural, manifest.name)
    body = with_metadata(manifest.body, client.project, {})
    try:
        if live is None:
            wanted = await client.create(plural, _without_name(body), dry_run=True)
            return Comparison(live=None, wanted=comparable(wanted), exact=True)
        wanted = await client.replace(plural, _as_update(body, live), dry_run=True)
        current, target = comparable(live), comparable(wanted)
        if current != target:
            echo = await client.replace(plural, _as_update(live, live), dry_run=True)
            target = _trusted(target, current, comparable(echo))
        return Comparison(live=current, wanted=target, exact=True)
    except Refused as error:
        running = comparable(live) if live is not None else None
        return Comparison(live=running, wanted=comparable(body), exact=False, refused=str(error))


def _as_update(body: Object, live: Object) -> dict[str, Any]:
    """`body` with the traffic and the labels of `live`, and without the name of a revision."""
    unnamed = _without_name(body)
    metadata = {
        key: value for key, value in unnamed["metadata"].items() if key not in ("uid", "resourceVersion")
    }
    labels = {**(metadata.get("labels") or {}), **_agent_labels(live)}
    spec = dict(unnamed["spec"])
    if "traffic" in live["spec"]:
        spec["traffic"] = live["spec"]["traffic"]
    kept = {key: value for key, value in unnamed.items() if key != "status"}
    return {**kept, "metadata": {**metadata, "labels": labels}, "spec": spec}


def _without_name(body: Object) -> dict[str, Any]:
    """The server then chooses a name for the revision, which a dry run does not create."""
    template = dict(body["spec"]["template"])
    template["metadata"] = {
        key: value for key, value in (template.get("metadata") or {}).items() if key != "name"
    }
    spec = {key: value for key, value in body["spec"].items() if key not in _TOKENS}
    return {**body, "spec": {**spec, "template": template}}


def _agent_labels(live: Object) -> Mapping[str, str]:
    found = live["metadata"].get("labels") or {}
    return {key: value for key, value in found.items() if str(key).startswith("pipecd-dev-")}


def comparable(body: Object) -> dict[str, Any]:
    """Without status, traffic, names of revisions, and what the server or an agent writes."""
    spec = {key: value for key, value in body["spec"].items() if key not in ("traffic", *_TOKENS)}
    template = dict(spec.get("template") or {})
    template["metadata"] = _metadata(template.get("metadata") or {})
    return {"metadata": _metadata(body["metadata"]), "spec": {**spec, "template": template}}


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    labels = {
        key: value
        for key, value in (metadata.get("labels") or {}).items()
        if not str(key).startswith(_SERVER_LABELS)
    }
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in _SERVER_ANNOTATIONS
    }
    return {name: found for name, found in (("labels", labels), ("annotations", annotations)) if found}


def _trusted(wanted: Any, live: Any, echo: Any) -> Any:
    """`wanted`, but as `live` where the answer to `live` itself, `echo`, differs from it."""
    if live == echo:
        return wanted
    if isinstance(wanted, Mapping) and isinstance(live, Mapping) and isinstance(echo, Mapping):
        merged: dict[str, Any] = {}
        for key in dict.fromkeys([*wanted, *live, *echo]):
            sides = [side.get(key, _ABSENT) for side in (wanted, live, echo)]
            value = _trusted(*sides)
            if value is not _ABSENT:
                merged[key] = value
        return merged
    lists = all(isinstance(side, list) for side in (wanted, live, echo))
    if lists and len(wanted) == len(live) == len(echo):
        return [_trusted(*items) for items in zip(wanted, live, echo, strict=True)]
    return live


_ABSENT = object()

"""What a sync would do to one object. Called by drift detection and plan preview.

The object is compared with the answer of a dry run of applying it. Both are complete objects of the server,
so defaults, quantities, webhooks and fields of others need no rules here. Where no dry run is possible, the
object is compared with its manifest instead, which is less exact.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipecd.errors import NotFound, PermissionDenied, Refused
from pipecd.model.drift import Addition, remove_paths
from pipecd.platforms.kubernetes import field_owners
from pipecd.platforms.kubernetes.apply import MustRecreate, Placed, apply
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.field_owners import SERVER_ANNOTATIONS, Field, Owner
from pipecd.platforms.kubernetes.field_rules import FieldRules
from pipecd.platforms.kubernetes.mark import PREFIX, resource_key
from pipecd.platforms.kubernetes.normal import SERVER_METADATA, normalize
from pipecd.platforms.kubernetes.scaling import without_scaled_replicas
from pipecd.platforms.kubernetes.secret import without_values

#: Of a webhook that changes something outside, and therefore refuses dry runs.
_NO_DRY_RUN = "does not support dry run"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """`live` and `wanted` are the object now and after a sync, as `comparable` makes them."""

    live: Mapping[str, Any] | None
    wanted: Mapping[str, Any]
    #: False if `wanted` is the manifest, without what the server adds.
    exact: bool = True
    #: Why the object would be deleted and created again; empty if it would not.
    recreated: str = ""
    #: Why the sync would fail; empty if it would not.
    refused: str = ""
    #: Why no dry run was possible; empty if one was.
    unchecked: str = ""
    #: Fields that people added, which a sync leaves.
    additions: Sequence[Addition] = ()
    #: Who set the fields that a sync would change.
    changed_by: Sequence[Owner] = ()


async def determine_effect(
    cluster: Cluster, placed: Placed, live: Object | None, application: str, rules: FieldRules
) -> Effect:
    """`placed` has the marks of the application. Raises NotFound if its namespace does not exist."""
    unknown = _from_manifest(placed, live, rules)
    try:
        answer = await apply(
            cluster, placed, application, lambda _: None, rules=rules, known=live, dry_run=True
        )
    except PermissionDenied as error:
        return replace(unknown, unchecked=str(error))
    except NotFound as error:
        # Deleted since it was read, unless it is the namespace.
        if live is None:
            raise
        return replace(unknown, live=None, unchecked=str(error))
    except Refused as error:
        if _NO_DRY_RUN in error.what:
            return replace(unknown, unchecked=error.what)
        return replace(unknown, refused=str(error))
    if isinstance(answer, MustRecreate):
        return replace(unknown, recreated=answer.reason)
    paths = rules.ignored_paths(placed.manifest)
    if live is None:
        return Effect(live=None, wanted=remove_paths(comparable(answer), paths))
    added = _additions(placed, answer, rules)
    wanted = field_owners.without(answer, [field for field, _ in added]) if rules.strict else answer
    before, applied = (remove_paths(comparable(body), paths) for body in (live, answer))
    owners = field_owners.takes_from(live, answer, differ=before != applied)
    return Effect(
        live=before,
        wanted=remove_paths(comparable(wanted), paths),
        additions=additions_of(placed, answer, rules),
        changed_by=[*owners, *(owner for _, owner in added if rules.strict)],
    )


def additions_of(placed: Placed, live: Object, rules: FieldRules) -> Sequence[Addition]:
    """Fields that people added beside those in Git; none if the application does not allow them."""
    if rules.strict:
        return []
    return [_addition(placed, field, owner) for field, owner in _additions(placed, live, rules)]


def comparable(live: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the server keeps, what every sync writes, and the values of a Secret."""
    body = {key: value for key, value in live.items() if key != "status"}
    metadata = {key: value for key, value in live["metadata"].items() if key not in SERVER_METADATA}
    for name in ("annotations", "labels"):
        kept = {
            key: value
            for key, value in (metadata.pop(name, None) or {}).items()
            if not key.startswith(PREFIX) and key not in SERVER_ANNOTATIONS
        }
        if kept:
            metadata[name] = kept
    body["metadata"] = metadata
    if body.get("kind") == "HorizontalPodAutoscaler":
        body["spec"] = _with_sorted_metrics(body.get("spec"))
    return without_values(body)


def _with_sorted_metrics(spec: Any) -> Any:
    """Older servers change the order of metrics, and repeat some."""
    metrics = spec.get("metrics") if isinstance(spec, Mapping) else None
    if not isinstance(metrics, list):
        return spec
    by_content = {json.dumps(metric, sort_keys=True): metric for metric in metrics}
    return {**spec, "metrics": [by_content[content] for content in sorted(by_content)]}


def _from_manifest(placed: Placed, live: Object | None, rules: FieldRules) -> Effect:
    """The effect as far as the manifest tells it."""
    paths = rules.ignored_paths(placed.manifest)
    normal = without_scaled_replicas(normalize(placed.manifest, lambda _: None), live)
    body = rules.keep_ignored(placed.manifest, normal, live)
    return Effect(
        live=None if live is None else remove_paths(comparable(live), paths),
        wanted=remove_paths(comparable(body), paths),
        exact=False,
    )


def _additions(placed: Placed, answer: Object, rules: FieldRules) -> list[tuple[Field, Owner]]:
    ignored = rules.ignored_paths(placed.manifest)
    return [
        (field, owner)
        for field, owner in field_owners.added_by_people(answer)
        if not _is_below(field_owners.path_of(field, answer), ignored)
    ]


def _is_below(path: Sequence[str], ignored: Sequence[Sequence[str]]) -> bool:
    return any(
        len(rule) <= len(path) and all(part in (other, "*") for part, other in zip(rule, path, strict=False))
        for rule in ignored
    )


def _addition(placed: Placed, field: Field, owner: Owner) -> Addition:
    return Addition(
        key=resource_key(placed.manifest),
        field=field_owners.describe(field),
        manager=owner.manager,
        at=owner.at,
    )

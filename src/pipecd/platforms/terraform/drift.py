"""Drift of a Terraform application: the changes of a new plan.

Called by the agent's drift loop. A change only in fields of `driftDetection.ignoreFields` is no drift; the
keys there are `terraform:<type>:<module>:<name>`, such as `terraform:aws_instance::web#tags`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipecd.model.drift import NO_DRIFT, Drift, IgnoredFields, remove_paths
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.terraform.changes import Change, Changes
from pipecd.platforms.terraform.config import Provider
from pipecd.platforms.terraform.source import Files
from pipecd.platforms.terraform.unlocked import unlocked_plan


def drift_enabled(provider: Provider | None) -> bool:
    return provider is None or provider.drift_detection_enabled


async def detect_drift(request: ObservationRequest) -> Drift:
    desired: Files = request.desired
    if not desired.terraform:
        return NO_DRIFT
    head = await request.checkout_head()
    changes, details = await unlocked_plan(request.application, request.provider, head)
    return to_drift(changes, details, request.ignored)


def to_drift(changes: Changes, details: str, ignored: IgnoredFields) -> Drift:
    """The drift of a plan's changes that are not ignored. `details` is Terraform's text of the plan."""
    if changes.empty:
        return NO_DRIFT
    relevant = [change for change in changes.resources if not _is_ignored(change, ignored)]
    ignored_count = len(changes.resources) - len(relevant)
    if ignored_count and not relevant and not changes.outputs:
        return NO_DRIFT
    reported = Changes(resources=relevant, outputs=changes.outputs, applyable=changes.applyable)
    note = f" ({ignored_count} more only in ignored fields)" if ignored_count else ""
    fingerprint = " ".join(sorted(change.address for change in relevant))
    return Drift(summary=f"Differs from Git: {reported}{note}", details=details, fingerprint=fingerprint)


def _is_ignored(change: Change, ignored: IgnoredFields) -> bool:
    """Whether an update changes only ignored fields."""
    if change.actions != ("update",) or change.imported:
        return False
    paths = ignored.paths(resource_key(change))
    after = _planned(change.after, change.unknown)
    return bool(paths) and remove_paths(change.before, paths) == remove_paths(after, paths)


def resource_key(change: Change) -> str:
    """The resource's key in `ignoreFields`; its module is empty for the root module."""
    name = change.address.removeprefix(f"{change.module}.").partition(".")[2]
    return f"terraform:{change.type}:{change.module}:{name}"


def _planned(after: Any, unknown: Any) -> Any:
    """`after` with a placeholder for values known only after the apply, which count as differences."""
    if unknown is True:
        return "(known after apply)"
    if isinstance(unknown, Mapping) and isinstance(after, Mapping):
        return {name: _planned(after.get(name), unknown.get(name)) for name in _keys(after, unknown)}
    if isinstance(unknown, list) and isinstance(after, list):
        marks = [*unknown, *[None] * len(after)]
        return [_planned(item, mark) for item, mark in zip(after, marks, strict=False)]
    return after


def _keys(after: Mapping[str, Any], unknown: Mapping[str, Any]) -> Iterator[str]:
    yield from after
    yield from (name for name, mark in unknown.items() if name not in after and mark is True)

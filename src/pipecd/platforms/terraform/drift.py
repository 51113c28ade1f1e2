"""Whether the world is what a Terraform application asks for: a plan, made now, that finds nothing to do.

Called by the agent's drift loop. A change that lies only in fields that `driftDetection.ignoreFields` names
is none; a resource is `terraform:<type>:<module>:<name>` there, such as `terraform:aws_instance::web#tags`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipecd.model.drift import NONE, Drift, Ignored, without
from pipecd.model.look import Look
from pipecd.platforms.terraform.changes import Change, Changes
from pipecd.platforms.terraform.config import Provider
from pipecd.platforms.terraform.unlocked import unlocked_plan


def drift_enabled(provider: Provider | None) -> bool:
    return provider is None or provider.drift_detection_enabled


async def detect_drift(look: Look) -> Drift:
    found, details = await unlocked_plan(look.application, look.provider, await look.head())
    return judged(found, details, look.ignored)


def judged(found: Changes, details: str, ignored: Ignored) -> Drift:
    """What of a plan counts. `details` is the plan as Terraform tells it."""
    if found.none:
        return NONE
    left = [one for one in found.resources if not _is_ignored(one, ignored)]
    aside = len(found.resources) - len(left)
    if aside and not left and not found.outputs:
        return NONE
    told = Changes(resources=left, outputs=found.outputs, applyable=found.applyable)
    note = f" ({aside} more only in ignored fields)" if aside else ""
    return Drift(summary=f"Differs from Git: {told}{note}", details=details)


def _is_ignored(one: Change, ignored: Ignored) -> bool:
    """Whether an update touches nothing but ignored fields."""
    if one.actions != ("update",) or one.imported:
        return False
    paths = ignored.paths(key(one))
    return bool(paths) and without(one.before, paths) == without(_planned(one.after, one.unknown), paths)


def key(one: Change) -> str:
    """How `ignoreFields` names the resource: its module is empty at the root."""
    return f"terraform:{one.type}:{one.module}:{one.address.removeprefix(f'{one.module}.').partition('.')[2]}"


def _planned(after: Any, unknown: Any) -> Any:
    """`after`, with a mark wherever the value is known only once it is applied: that is a difference too."""
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

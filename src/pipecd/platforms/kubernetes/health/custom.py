"""The rules of custom kinds: expressions, with the words of Flux's `healthCheckExprs`.

`library.yaml` has rules for kinds that are used widely; a platform provider adds its own, or replaces them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

import yaml

from pipecd.platforms.kubernetes.health import cel
from pipecd.platforms.kubernetes.health.fields import Object, conditions_of, status_of, text
from pipecd.platforms.kubernetes.health.states import Ready, State, Waiting

_FAILURES = ("Stalled", "Failed", "Degraded", "NotReady", "Error", "ErrorOccurred")
_SUCCESSES = ("Issuing", "Synced", "Reconciled", "Healthy", "Succeeded", "Available", "Ready")


@dataclass(frozen=True)
class CustomRule:
    """Evaluated in the order `in_progress`, `failed`, `current`; if none is true, it is in progress."""

    current: str
    in_progress: str = ""
    failed: str = ""
    #: Whether a status of an older generation counts too.
    ignore_generation: bool = False

    @cached_property
    def _expressions(self) -> tuple[cel.Expression | None, cel.Expression | None, cel.Expression]:
        in_progress = cel.Expression(self.in_progress) if self.in_progress else None
        failed = cel.Expression(self.failed) if self.failed else None
        return in_progress, failed, cel.Expression(self.current)

    def __call__(self, live: Object) -> State:
        in_progress, failed, current = self._expressions
        try:
            if in_progress and in_progress.holds(live):
                return Waiting(explain(live, "its controller is working"))
            if failed and failed.holds(live):
                # Without observedGeneration, it may be about the object before its last change.
                reason = explain(live, "its controller reports a failure")
                return Waiting(reason, problem=reason)
            if current.holds(live):
                return Ready()
        except cel.NotEvaluated as error:
            return Waiting(explain(live, f"its health is not known yet: {error}"))
        return Waiting(explain(live, "it is not ready yet"))


def explain(live: Object, otherwise: str) -> str:
    """Why the object is not ready, in the words of its controller."""
    status = status_of(live)
    conditions = conditions_of(status)
    adverse = [
        *(conditions[name] for name in _FAILURES if conditions[name].status == "True"),
        *(conditions[name] for name in _SUCCESSES if conditions[name].status in ("False", "Unknown")),
    ]
    for condition in adverse:
        if condition.explain():
            return condition.explain()
    for name in ("message", "reason", "phase", "state", "status"):
        if isinstance(status.get(name), str) and status[name]:
            return text(status, name)
    return otherwise


@cache
def library() -> Mapping[tuple[str, str], CustomRule]:
    """By group and kind. Empty without the engine: the kinds are judged by common conditions then."""
    if not cel.is_available():
        return {}
    content = resources.files(__package__).joinpath("library.yaml").read_text()
    rules = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["rules"]
    return {
        (str(group), str(kind)): _read(entry)
        for entry in rules
        for group, kinds in entry["kinds"].items()
        for kind in kinds
    }


def _read(entry: Mapping[str, Any]) -> CustomRule:
    return CustomRule(
        current=entry["current"],
        in_progress=entry.get("inProgress", ""),
        failed=entry.get("failed", ""),
        ignore_generation=entry.get("ignoreGeneration", False),
    )

"""The state of any live object: by the rule of its kind, or by common conditions.

Used by live state and by the stages that wait. A `HealthRules` is created with the connection to a cluster.
"""

from collections.abc import Mapping

from pipecd.platforms.kubernetes.health.deletion import deletion_state
from pipecd.platforms.kubernetes.health.fields import Object, conditions_of, status_of
from pipecd.platforms.kubernetes.health.kinds import KINDS, WORKLOADS, Rule, applied_at
from pipecd.platforms.kubernetes.health.states import Broken, Ready, State, Waiting

#: A controller that reports nothing about a new object may not have seen it yet (seconds).
FIRST_STATUS_TIMEOUT = 30.0
_UNSEEN = Waiting("the controller has not seen the change yet")
_FAILURES = ("Stalled", "Failed", "Degraded")
_SUCCESSES = ("Ready", "Available", "Established", "Programmed")


class HealthRules:
    """Of one cluster."""

    def __init__(self, rules: Mapping[tuple[str, str], Rule] = KINDS) -> None:
        self._rules = rules

    def is_waited_for(self, api_version: str, kind: str) -> bool:
        """Whether a stage waits for objects of the kind."""
        return (_group(api_version), kind) in WORKLOADS

    def state_of(self, live: Object, *, has_status: bool = False) -> State:
        """`has_status`: the kind has a status that only its controller writes.

        The state may change at a time that it contains, see `states.state_at`.
        """
        if deleting := deletion_state(live):
            return deleting
        rule = self._rules.get((_group(str(live["apiVersion"])), str(live["kind"])))
        if rule is None and has_status and "status" not in live:
            silent = Ready("its controller does not report a status")
            until = applied_at(live) + FIRST_STATUS_TIMEOUT
            return Waiting("its controller has not reported a status yet", until=until, then=silent)
        if not _is_observed(live):
            return _UNSEEN
        return rule(live) if rule else _state_by_conditions(live)


def _is_observed(live: Object) -> bool:
    """Whether the status is about the object as it is now."""
    observed, generation = status_of(live).get("observedGeneration"), live["metadata"].get("generation")
    return not (isinstance(observed, int) and isinstance(generation, int)) or observed >= generation


def _state_by_conditions(live: Object) -> State:
    """By the conditions that most controllers write. Without them, the object is ready."""
    conditions = conditions_of(status_of(live))
    for name in _FAILURES:
        if conditions[name].status == "True":
            return Broken(conditions[name].explain(f"its condition {name} is True"))
    for name in _SUCCESSES:
        if name in conditions and conditions[name].status != "True":
            return Waiting(conditions[name].explain(f"its condition {name} is {conditions[name].status}"))
    if conditions["Reconciling"].status == "True":
        return Waiting(conditions["Reconciling"].explain("its controller is working"))
    return Ready()


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]

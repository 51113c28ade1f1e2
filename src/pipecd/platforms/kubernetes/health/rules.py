"""The state of any live object: by the rule of its kind, or by common conditions.

Rules of the platform provider come first, then those of Kubernetes' own kinds and of the library.

Used by live state and by the stages that wait. A `HealthRules` is created with the connection to a cluster.
"""

from collections.abc import Mapping

from pipecd.platforms.kubernetes.health.custom import CustomRule, library
from pipecd.platforms.kubernetes.health.deletion import deletion_state
from pipecd.platforms.kubernetes.health.fields import Object, conditions_of, status_of
from pipecd.platforms.kubernetes.health.kinds import KINDS, WORKLOADS, applied_at
from pipecd.platforms.kubernetes.health.states import Broken, Ready, State, Waiting

#: A controller that reports nothing about a new object may not have seen it yet (seconds).
FIRST_STATUS_TIMEOUT = 30.0
_UNSEEN = Waiting("the controller has not seen the change yet")
_FAILURES = ("Stalled", "Failed", "Degraded")
_SUCCESSES = ("Ready", "Available", "Established", "Programmed")


class HealthRules:
    """Of one cluster. `custom` are the provider's own rules, by group and kind."""

    def __init__(self, custom: Mapping[tuple[str, str], CustomRule] | None = None) -> None:
        self._custom = custom or {}

    def is_waited_for(self, api_version: str, kind: str) -> bool:
        """Whether a stage waits for objects of the kind: workloads, and custom kinds that have a rule."""
        return (_group(api_version), kind) in WORKLOADS or self._custom_rule(api_version, kind) is not None

    def state_of(self, live: Object, *, has_status: bool = False) -> State:
        """`has_status`: the kind has a status that only its controller writes.

        The state may change at a time that it contains, see `states.state_at`.
        """
        if deleting := deletion_state(live):
            return deleting
        api_version, kind = str(live["apiVersion"]), str(live["kind"])
        custom = self._custom_rule(api_version, kind)
        rule = custom or KINDS.get((_group(api_version), kind))
        if rule is None and has_status and "status" not in live:
            silent = Ready("its controller does not report a status")
            until = applied_at(live) + FIRST_STATUS_TIMEOUT
            return Waiting("its controller has not reported a status yet", until=until, then=silent)
        if not (custom and custom.ignore_generation) and not _is_observed(live):
            return _UNSEEN
        return rule(live) if rule else _state_by_conditions(live)

    def _custom_rule(self, api_version: str, kind: str) -> CustomRule | None:
        """The group alone decides, because an object is the same in every version."""
        key = (_group(api_version), kind)
        return self._custom.get(key) or (None if key in KINDS else library().get(key))


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
    synced = conditions["Synced"]
    if synced.status == "False" and "Ready" in conditions:
        # Crossplane's managed resources: the provider's API refused the object.
        return Waiting(synced.explain("it is not synced"), problem=synced.explain("it is not synced"))
    for name in _SUCCESSES:
        if name in conditions and conditions[name].status != "True":
            return Waiting(conditions[name].explain(f"its condition {name} is {conditions[name].status}"))
    if conditions["Reconciling"].status == "True":
        return Waiting(conditions["Reconciling"].explain("its controller is working"))
    return Ready()


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]

"""What an object waits for that is being deleted."""

from pipecd.platforms.kubernetes.health.fields import (
    Object,
    conditions_of,
    epoch_seconds,
    mapping,
    spec_of,
    status_of,
)
from pipecd.platforms.kubernetes.health.states import Broken, Waiting

#: An object whose finalizers take longer needs help (seconds).
FINALIZERS_TIMEOUT = 300.0
_MAX_FINALIZERS, _MAX_CONDITIONS, _MAX_LENGTH = 10, 5, 300


def describe_deletion(live: Object) -> str:
    """Such as `: it waits for its finalizers a, b`, and why a namespace is not empty."""
    finalizers = _finalizers(live)
    remaining = [
        condition.message[:_MAX_LENGTH]
        for condition in conditions_of(status_of(live)).values()
        if live.get("kind") == "Namespace" and condition.status == "True"
    ]
    waits = f": it waits for its finalizers {', '.join(finalizers)}" if finalizers else ""
    return waits + (f" ({'; '.join(remaining[:_MAX_CONDITIONS])})" if remaining else "")


def deletion_state(live: Object) -> Waiting | None:
    """None if it is not being deleted. One whose finalizers are not removed is unhealthy after 5 minutes."""
    at = mapping(live.get("metadata")).get("deletionTimestamp")
    if not at:
        return None
    sentence = f"is being deleted{describe_deletion(live)}"
    if not _finalizers(live):
        return Waiting(sentence)
    return Waiting(sentence, until=epoch_seconds(at) + FINALIZERS_TIMEOUT, then=Broken(sentence))


def _finalizers(live: Object) -> list[str]:
    listed = (mapping(live.get("metadata")).get("finalizers"), spec_of(live).get("finalizers"))
    names = [str(name)[:_MAX_LENGTH] for names in listed if isinstance(names, list) for name in names]
    return names[:_MAX_FINALIZERS]

"""Whether a service, a revision, a job or an execution works, from its conditions. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.platforms.cloudrun.google_errors import MAX_MESSAGE_LENGTH

Object = Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """`ready`: True, False (it failed) or None (it is not decided yet). `message` is Google's."""

    ready: bool | None
    message: str = ""


def state_of(live: Object, condition: str = "Ready") -> State:
    """By `condition`, or by Completed of an execution. Conditions of an older generation do not count.

    Active is not considered: it is False for a revision without traffic.
    """
    status = live.get("status") or {}
    generation = (live.get("metadata") or {}).get("generation")
    observed = status.get("observedGeneration")
    if generation is not None and observed is not None and observed != generation:
        return State(None, "Cloud Run has not processed the last change yet")
    conditions = {str(item.get("type")): item for item in status.get("conditions") or ()}
    decisive = conditions.get(condition) or conditions.get("Ready") or conditions.get("Completed")
    if decisive is None:
        return State(None, "Cloud Run has not reported a state yet")
    match decisive.get("status"):
        case "True":
            return State(True)
        case "False":
            return State(False, _messages(conditions, decisive))
        case _:
            return State(None, str(decisive.get("message") or "in progress")[:MAX_MESSAGE_LENGTH])


def _messages(conditions: Mapping[str, Object], decisive: Object) -> str:
    failed: Sequence[Object] = [
        decisive,
        *(
            item
            for item in conditions.values()
            if item.get("status") == "False" and item.get("type") != "Active"
        ),
    ]
    messages = [str(item.get("message") or item.get("reason") or "") for item in failed]
    text = "; ".join(dict.fromkeys(message for message in messages if message))
    return text[:MAX_MESSAGE_LENGTH] or "it failed without a message"

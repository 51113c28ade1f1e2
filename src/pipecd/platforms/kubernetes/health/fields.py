"""Reads the fields of live objects. The status of a custom kind may have any shape and size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]

#: Conditions of one object that are read.
MAX_CONDITIONS = 100
#: Of a text, in characters.
MAX_TEXT = 1_000


@dataclass(frozen=True)
class Condition:
    """`status` is True, False or Unknown; empty if the object has no such condition."""

    status: str = ""
    reason: str = ""
    message: str = ""
    #: Epoch seconds, 0 if unknown.
    changed_at: int = 0
    #: Of the object that it is about; None if the controller does not say so.
    generation: int | None = None

    def explain(self, otherwise: str = "") -> str:
        """Why it has its status, in the controller's words."""
        return self.message or self.reason or otherwise


_ABSENT = Condition()


class Conditions(dict[str, Condition]):
    """By type."""

    def __missing__(self, name: str) -> Condition:
        return _ABSENT


def conditions_of(status: Any) -> Conditions:
    """Those of a status, or of a part of it."""
    found = Conditions()
    for item in mappings(mapping(status).get("conditions"))[:MAX_CONDITIONS]:
        generation = item.get("observedGeneration")
        found[text(item, "type")] = Condition(
            status=text(item, "status"),
            reason=text(item, "reason"),
            message=text(item, "message"),
            changed_at=epoch_seconds(item.get("lastTransitionTime")),
            generation=generation if isinstance(generation, int) else None,
        )
    return found


def status_of(live: Object) -> Object:
    return mapping(live.get("status"))


def spec_of(live: Object) -> Object:
    return mapping(live.get("spec"))


def mapping(value: Any) -> Object:
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> Sequence[Object]:
    """The items of a list that are mappings."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text(source: Object, key: str) -> str:
    """Empty if absent."""
    value = source.get(key)
    return "" if value is None else str(value)[:MAX_TEXT]


def count(source: Object, key: str, default: int = 0) -> int:
    value = source.get(key)
    return value if isinstance(value, int) else default


def epoch_seconds(value: object) -> int:
    """Of a time such as `2026-01-01T10:00:00Z`; 0 if it is not one."""
    try:
        return int(datetime.fromisoformat(str(value)).timestamp()) if value else 0
    except (ValueError, OverflowError):
        return 0

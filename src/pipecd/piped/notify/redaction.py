"""Removes secrets from an event, wherever a text of it may contain one: reasons, messages, stage metadata."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from pipecd.model.notification import NotificationEvent

Event = TypeVar("Event", bound=NotificationEvent)


def redact_event(event: Event, redact: Callable[[str], str]) -> Event:
    """The event with `redact` applied to all of its texts."""
    redacted: Event = _redacted(event, redact)
    return redacted


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if is_dataclass(value) and not isinstance(value, type):
        members = {member.name: getattr(value, member.name) for member in fields(value)}
        return replace(value, **{name: _redacted(member, redact) for name, member in members.items()})
    if isinstance(value, Mapping):
        return {key: _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_redacted(item, redact) for item in value)
    return value

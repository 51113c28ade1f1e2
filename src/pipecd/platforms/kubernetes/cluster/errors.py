"""Turns answers of the API server into the errors of `pipecd.errors`.

The server's own sentence is kept, because it names the object, the field and the rule. Secrets are not in it:
the server names fields, and values of fields that it validates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    PermissionDenied,
    PipecdError,
    Refused,
    Temporary,
    Unauthenticated,
)
from pipecd.json_input import decode_json

#: Of a message of the server, in characters. A strict validation names every unknown field.
MAX_MESSAGE_LENGTH = 4000
_RETRY_AFTER = 5.0
#: Longer delays are not obeyed (seconds).
MAX_RETRY_AFTER = 300.0
#: Of an invalid object, and of the name of one, in characters.
_MAX_FIELDS, _MAX_FIELD_LENGTH = 20, 200
#: Server-side apply of an object that does not fit the schema is answered with the status 500.
_INVALID = (
    "failed to create typed patch object",
    "field not declared in schema",
    "failed to convert new object",
)


@dataclass(frozen=True, kw_only=True)
class Status:
    """The API's description of a failure. `reason` is a value such as `Invalid`."""

    code: int
    reason: str
    message: str
    retry_after: float | None = None
    #: The fields that are wrong, such as `spec.replicas`.
    fields: Sequence[str] = ()


class Rejected(Refused):
    """The API server refuses the object: it is invalid, or a policy, a quota or a webhook forbids it."""

    def __init__(self, status: Status, *, remedy: str = "") -> None:
        super().__init__(status.message, remedy=remedy)
        self.status = status


class Expired(PipecdError):
    """The resource version is too old to continue from: list again."""


def read_status(code: int, body: bytes, retry_after: str | None = None) -> Status:
    """The status in an answer. A proxy in front of the API server may answer with any text instead."""
    try:
        data = decode_json(body)
    except ValueError:
        data = None
    if not isinstance(data, Mapping) or data.get("kind") != "Status":
        text = body[:200].decode(errors="replace").strip()
        message = f"HTTP status {code}" + (f": {text}" if text else "")
        return Status(code=code, reason="", message=message, retry_after=_seconds(retry_after))
    return status_of(data, retry_after=retry_after)


def status_of(data: Mapping[str, Any], *, retry_after: str | None = None) -> Status:
    """From an object of the kind Status."""
    details = data.get("details") or {}
    seconds = _seconds(retry_after)
    if seconds is None:
        seconds = _seconds(str(details.get("retryAfterSeconds") or ""))
    return Status(
        code=int(data.get("code") or 0),
        reason=str(data.get("reason") or ""),
        message=str(data.get("message") or data.get("reason") or "unknown error")[:MAX_MESSAGE_LENGTH],
        retry_after=seconds,
        fields=_fields(details.get("causes")),
    )


def error_of(status: Status, cluster: str, origin: str = "the kubeconfig") -> PipecdError:
    """The error for a failed request. `cluster` names the cluster in messages, and `origin` its settings."""
    message = status.message
    match status.code:
        case 401:
            return Unauthenticated(
                f"the API server of {cluster} rejects the agent's credentials: {message};"
                f" renew them in {origin}"
            )
        case 404:
            return NotFound(message)
        case 409 if status.reason == "AlreadyExists":
            return AlreadyExists(message)
        case 409:
            return Conflict(message)
        case 410:
            return Expired(message)
        case 403 if _lacks_permission(status):
            return PermissionDenied(f"{message}; grant the agent this permission in {cluster}")
        case 429:
            after = _RETRY_AFTER if status.retry_after is None else status.retry_after
            return Temporary(f"the API server of {cluster} is busy: {message}", after=after)
        case code if code >= 500 and not any(text in message for text in _INVALID):
            return Temporary(f"the API server of {cluster} failed: {message}", after=status.retry_after)
        case _:
            return Rejected(status)


def _fields(causes: Any) -> Sequence[str]:
    names = [
        str(cause["field"])[:_MAX_FIELD_LENGTH]
        for cause in (causes if isinstance(causes, list) else ())[:_MAX_FIELDS]
        if isinstance(cause, Mapping) and cause.get("field") not in (None, "", "<nil>")
    ]
    return list(dict.fromkeys(names))


def _lacks_permission(status: Status) -> bool:
    """False for a refusal by a quota, a policy or a webhook, which is about the object, not the agent."""
    return 'User "' in status.message and " cannot " in status.message


def _seconds(value: str | None) -> float | None:
    """None for a date, and for what is no number of seconds."""
    try:
        seconds = float(value) if value else math.nan
    except ValueError:
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER) if math.isfinite(seconds) else None

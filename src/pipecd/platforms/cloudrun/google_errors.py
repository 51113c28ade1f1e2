"""Turns answers of Google's APIs into the errors of `pipecd.errors`. Google's own sentence is kept."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.errors import AlreadyExists, Conflict, NotFound, PipecdError, Refused, Temporary
from pipecd.json_input import decode_json

#: Of a message (characters).
MAX_MESSAGE_LENGTH = 2000
_PERMISSION = re.compile(r"[a-z]+(?:\.[a-zA-Z]+){2,3}")
#: Beginning of a permission's name → the role that contains it.
_ROLES: Mapping[str, str] = {
    "iam.serviceaccounts.": "roles/iam.serviceAccountUser on the account that the service runs as",
    "run.": "roles/run.developer on the project",
}
_DISABLED = ("SERVICE_DISABLED", "has not been used in project", "it is disabled")


def error_of(status: int, body: bytes, retry_after: str | None, what: str) -> PipecdError:
    """`what` names the object of the call, such as `the service shop`."""
    message, reason = _describe(status, body)
    match status:
        case 400 | 412 | 422:
            return Refused(f"Google refuses {what}: {message}", remedy="correct its manifest")
        case 401:
            return Refused(
                f"Google does not accept the agent's credentials: {message}",
                remedy="check the provider's credentialsFile",
            )
        case 403:
            return Refused(f"{what} may not be accessed: {message}", remedy=_missing_role(message, reason))
        case 404:
            return NotFound(message)
        case 409 if reason in ("ALREADY_EXISTS", "AlreadyExists", "alreadyExists"):
            return AlreadyExists(message)
        case 409:
            return Conflict(message)
        case 429:
            return Temporary(
                f"Cloud Run limits the request rate: {message}", after=_seconds(retry_after) or 10.0
            )
        case _ if status >= 499:
            return Temporary(f"Cloud Run is unavailable: {message}", after=_seconds(retry_after))
        case _:
            return Refused(f"Google answers {what} with HTTP status {status}: {message}")


def _describe(status: int, body: bytes) -> tuple[str, str]:
    """Message and reason of an error. A proxy in between may answer with any text."""
    try:
        data = decode_json(body)
    except ValueError:
        data = None
    if not isinstance(data, Mapping):
        text = body[:200].decode(errors="replace").strip()
        return f"HTTP status {status}" + (f": {text}" if text else ""), ""
    inner = data.get("error")
    error: Mapping[str, Any] = inner if isinstance(inner, Mapping) else data
    fields = [f"{field}: {why}" if field else why for field, why in _violations(error)]
    text = str(error.get("message") or f"HTTP status {status}").strip()
    missing = [field for field in fields if field not in text]
    message = "; ".join([text, *missing])[:MAX_MESSAGE_LENGTH]
    reasons = [str(error.get("status") or error.get("reason") or "")]
    reasons += [str(detail.get("reason")) for detail in _details(error) if detail.get("reason")]
    return message, "SERVICE_DISABLED" if "SERVICE_DISABLED" in reasons else reasons[0]


def _violations(error: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The fields that are wrong, in both forms that the API uses."""
    found: list[Mapping[str, Any]] = []
    for detail in _details(error):
        found += [item for item in detail.get("fieldViolations") or () if isinstance(item, Mapping)]
    if isinstance(error.get("details"), Mapping):
        found += [item for item in error["details"].get("causes") or () if isinstance(item, Mapping)]
    return [
        (str(item.get("field", "")), str(item.get("description") or item.get("message") or "is invalid"))
        for item in found[:10]
    ]


def _details(error: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    details = error.get("details")
    return [detail for detail in details if isinstance(detail, Mapping)] if isinstance(details, list) else []


def _missing_role(message: str, reason: str) -> str:
    if reason == "SERVICE_DISABLED" or any(text in message for text in _DISABLED):
        return "enable the API: gcloud services enable run.googleapis.com"
    for permission in _PERMISSION.findall(message):
        for prefix, role in _ROLES.items():
            if permission.lower().startswith(prefix):
                return f"grant the agent's account {role}"
    return "grant the agent's account roles/run.developer on the project"


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, min(600.0, float(value))) if value else None
    except ValueError:
        return None

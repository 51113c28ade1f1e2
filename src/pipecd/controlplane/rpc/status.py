"""Maps exceptions to status codes: the one place where the control plane's exceptions end.

Both transports call `to_status`. The code names are gRPC's, which Connect shares. An exception that is not a
PipecdError is an internal error: the caller gets no details, the log gets the traceback.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from pipecd.errors import (
    AlreadyExists,
    ConfigError,
    Conflict,
    NotFound,
    PermissionDenied,
    PipecdError,
    Temporary,
    Unauthenticated,
    Unsupported,
    UserError,
)

log = structlog.get_logger()

#: Longest message sent to a caller, in bytes: it is a header of the response, and clients limit these. Errors
#: may quote values of the request.
MAX_MESSAGE_BYTES = 1000


@dataclass(frozen=True, kw_only=True)
class Status:
    """`field` is the path of the request's field that is wrong; empty if it is not one field."""

    code: str
    message: str
    field: str = ""


CODES: Mapping[type[PipecdError], str] = {
    UserError: "INVALID_ARGUMENT",
    # While calls are served, only the control plane's own configuration can be wrong: the caller may retry.
    ConfigError: "UNAVAILABLE",
    NotFound: "NOT_FOUND",
    AlreadyExists: "ALREADY_EXISTS",
    Conflict: "FAILED_PRECONDITION",
    Unauthenticated: "UNAUTHENTICATED",
    PermissionDenied: "PERMISSION_DENIED",
    Unsupported: "UNIMPLEMENTED",
    Temporary: "UNAVAILABLE",
}


def status_code(error: Exception) -> str:
    """Return the name of the status code for `error`."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return "UNAVAILABLE" if isinstance(error, TimeoutError) else "INTERNAL"


def to_status(error: Exception, method: str) -> Status:
    """Return the status sent to the caller of `method`. Logs internal errors."""
    code = status_code(error)
    if isinstance(error, ConfigError):
        log.error("rpc_configuration_error", method=method, error=str(error))
        return Status(code=code, message="the control plane is misconfigured; see its log")
    if isinstance(error, PipecdError):
        return Status(code=code, message=_shorten(str(error)), field=_shorten(error.field))
    log.error("rpc_internal_error", method=method, exc_info=error)
    if isinstance(error, TimeoutError):
        return Status(code=code, message="the control plane is busy; try again")
    return Status(code=code, message="internal error")


def _shorten(text: str) -> str:
    data = text.encode(errors="replace")
    return text if len(data) <= MAX_MESSAGE_BYTES else f"{data[:MAX_MESSAGE_BYTES].decode(errors='ignore')}…"

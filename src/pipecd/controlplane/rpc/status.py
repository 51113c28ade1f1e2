"""Errors as status codes: the one place where the control plane's exceptions end.

`failure` is called by both transports. The names are gRPC's, which Connect shares. What is not on
purpose is our fault: the caller learns nothing but that, the log learns everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from pipecd.errors import (
    AlreadyExists,
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


@dataclass(frozen=True, kw_only=True)
class Failure:
    code: str
    text: str


CODES: Mapping[type[PipecdError], str] = {
    UserError: "INVALID_ARGUMENT",
    NotFound: "NOT_FOUND",
    AlreadyExists: "ALREADY_EXISTS",
    Conflict: "FAILED_PRECONDITION",
    Unauthenticated: "UNAUTHENTICATED",
    PermissionDenied: "PERMISSION_DENIED",
    Unsupported: "UNIMPLEMENTED",
    Temporary: "UNAVAILABLE",
}


def code_of(error: Exception) -> str:
    """The status code that stands for `error`."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return "UNAVAILABLE" if isinstance(error, TimeoutError) else "INTERNAL"


def failure(error: Exception, method: str) -> Failure:
    """What the caller of `method` is told about `error`."""
    code = code_of(error)
    if isinstance(error, PipecdError):
        return Failure(code=code, text=str(error))
    log.error("rpc failed by a fault of ours", method=method, exc_info=error)
    if isinstance(error, TimeoutError):
        return Failure(code=code, text="the control plane is busy; try again")
    return Failure(code=code, text="internal error")

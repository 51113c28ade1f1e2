"""Converts a failed gRPC call to an error of `pipecd.errors` with a sentence that a person can act on.

Called by `pipecd.client`. gRPC's details of a failed connection name its own layers, such as `failed to
connect to all addresses; last error: UNKNOWN: ipv4:…`; the table below says what they mean.
"""

import re
from collections.abc import Mapping

import grpc
from grpc import aio

from pipecd.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    PermissionDenied,
    PipecdError,
    Refused,
    Temporary,
    Unauthenticated,
    Unsupported,
)

_ERRORS: Mapping[grpc.StatusCode, type[PipecdError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
}
#: A pattern in gRPC's details → what is wrong with the control plane's `{address}`. The first match counts.
_CONNECTION_ERRORS: Mapping[str, str] = {
    r"connection refused": "nothing listens at {address}; check that the control plane runs, and the address",
    r"errors? resolving|name resolution|domain name not found|dns ": "the host name of {address} cannot be"
    " resolved; check the address",
    r"no route to host|network is unreachable": "there is no route to {address}; check the network",
    r"certificate_verify_failed": "the TLS certificate of {address} is not trusted; give the CA's certificate"
    " with --cert-file",
    r"hostname verification": "the TLS certificate of {address} is for another host name; use its name",
    r"wrong_version_number": "{address} does not use TLS; use --insecure if the port is plaintext",
    r"http1|first frame": "{address} is not a gRPC port; use the control plane's port for agents and pipectl,"
    " or omit --insecure if this port uses TLS",
    r"socket closed|connection reset|handshake|eof": "{address} closes the connection; check that it is the"
    " gRPC port, and whether it uses TLS or plaintext (--insecure)",
    r"proxy": "the HTTP proxy does not connect to {address}; check HTTPS_PROXY and NO_PROXY",
    r"timed? ?out|timeout|deadline": "{address} does not respond; check the address and the network",
}
#: How gRPC's details of a failed connection begin; other details are sentences of the control plane.
_OF_A_CONNECTION = re.compile(
    r"failed to connect|errors? resolving|dns resolution|socket closed|connection |recvmsg|sendmsg|"
    r"name resolution|.*ipv[46]:",
    re.IGNORECASE,
)


def to_error(error: aio.AioRpcError, address: str) -> PipecdError:
    """The error to raise for a failed call to the control plane at `address`."""
    code, details = error.code(), (error.details() or "").strip()
    if kind := _ERRORS.get(code):
        return kind(details or code.name)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Temporary(f"the control plane at {address} did not answer in time")
    if code is grpc.StatusCode.UNAVAILABLE and _OF_A_CONNECTION.match(details):
        return Temporary(explain_connection_error(details, address))
    if code is grpc.StatusCode.UNAVAILABLE and details:
        return Temporary(details)
    return Temporary(f"the control plane at {address} failed: {details or code.name}")


def explain_connection_error(details: str, address: str) -> str:
    """One sentence about a connection that failed with gRPC's `details`."""
    for pattern, meaning in _CONNECTION_ERRORS.items():
        if re.search(pattern, details, re.IGNORECASE):
            return f"cannot connect to the control plane: {meaning.format(address=address)}"
    return f"cannot connect to the control plane at {address}: {details}"

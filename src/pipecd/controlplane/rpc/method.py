"""Description of an RPC: request and response types, required permission, and handler.

`needs` is the required permission; `table.methods` builds one `Method` for every RPC of every service.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from pipecd.model.access import Action, Resource

#: `async def (services, caller, request) -> response`; for a stream, an async generator function.
Handler = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class PipedKey:
    """Requires a piped key. `bearer`: sent as a Bearer token, as the exporters of PipeCD's agents do."""

    bearer: bool = False


@dataclass(frozen=True, kw_only=True)
class Right:
    """Requires a session whose roles allow `action` on `resource`."""

    resource: Resource
    action: Action


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """Requires an API key; if `writes`, one with the role READ_WRITE or ADMIN, if `administers`, ADMIN."""

    writes: bool
    administers: bool = False
    #: What the call of a session with the same name requires: errors name the call's purpose by it.
    right: Right | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """Requires any session of the project."""


Needs = PipedKey | ApiKey | Right | Member


@dataclass(frozen=True, kw_only=True)
class Method:
    service: str
    name: str
    request: type[Message]
    response: type[Message]
    needs: Needs
    handler: Handler
    streams: bool

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

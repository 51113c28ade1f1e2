"""A call that is served: what it takes and gives, who may make it, and what answers it.

`needs` says who; `table.methods` builds one `Method` for every RPC of every service.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from pipecd.model.access import Action, Resource

#: `async def (plane, caller, request) -> response`; a streaming one is an async generator function.
Handler = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class PipedKey:
    """A piped's own key."""


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """An API key; one that may only read will not do where `writes`."""

    writes: bool


@dataclass(frozen=True, kw_only=True)
class Right:
    """A session whose roles allow this."""

    resource: Resource
    action: Action


@dataclass(frozen=True, kw_only=True)
class Member:
    """Any session of the project."""


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

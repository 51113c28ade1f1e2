"""Who may make a call, and what a call must look like: asked before any handler runs.

`admit` comes first (credential → caller → right), then `serve` (rules → fence → handler), so that a
bad credential wins over a bad payload. Both transports use these two and nothing else.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Agent, Caller, Person, Program
from pipecd.controlplane.rpc import identity
from pipecd.controlplane.rpc.lease_guard import fence
from pipecd.controlplane.rpc.method import ApiKey, Member, Method, PipedKey, Right
from pipecd.controlplane.rpc.validation import validate
from pipecd.controlplane.services import Plane
from pipecd.errors import PermissionDenied
from pipecd.model.access import allows


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a caller shows besides the message: raw metadata, not yet believed."""

    authorization: str = ""
    cookie: str = ""
    instance: str = ""
    address: str = ""


async def admit(plane: Plane, method: Method, shown: Shown) -> Caller:
    """The caller, who may make this call. Raises Unauthenticated or PermissionDenied."""
    match method.needs:
        case PipedKey():
            return await identity.agent(plane, shown.authorization, shown.instance)
        case ApiKey(writes=writes):
            program = await identity.program(plane, shown.authorization)
            _check_role(program, writes)
            return program
        case Right() as right:
            person = await identity.person(plane, shown.cookie)
            _check_right(person, right)
            return person
        case Member():
            return await identity.person(plane, shown.cookie)


async def serve(plane: Plane, method: Method, caller: Caller, request: Message) -> Message:
    """The answer to an admitted call."""
    await _accept(plane, method, caller, request)
    answer: Message = await method.handler(plane, caller, request)
    return answer


async def stream(plane: Plane, method: Method, caller: Caller, request: Message) -> AsyncGenerator[Message]:
    """The stream that answers an admitted call; close it to end it."""
    await _accept(plane, method, caller, request)
    async with aclosing(method.handler(plane, caller, request)) as messages:
        async for message in messages:
            yield message


async def _accept(plane: Plane, method: Method, caller: Caller, request: Message) -> None:
    validate(request)
    if isinstance(caller, Agent):
        await fence(plane, method, caller)


def _check_role(program: Program, writes: bool) -> None:
    if writes and not program.may_write:
        raise PermissionDenied(f"API key {program.key_name} may only read; use one with the role READ_WRITE")


def _check_right(person: Person, right: Right) -> None:
    if not allows(person.policies, right.resource, right.action):
        raise PermissionDenied(
            f"{person.username} may not {right.action.name} {right.resource.name} in project"
            f" {person.project_id}; an administrator can give a role that does"
        )

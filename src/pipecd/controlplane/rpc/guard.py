"""Access control and validation, applied to every call before its handler runs.

`authorize` runs first (credential → caller → permission), then `serve` or `stream` (limits of the caller →
field rules → lease check → handler): an invalid credential is reported before an invalid payload. Both
transports use these functions only.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import replace

from google.protobuf.message import Message

from pipecd.controlplane.auth.caller import Agent, Caller, Person, Program
from pipecd.controlplane.rpc import identity
from pipecd.controlplane.rpc.identity import CallMetadata
from pipecd.controlplane.rpc.lease_guard import check_lease
from pipecd.controlplane.rpc.method import ApiKey, Member, Method, PipedKey, Right
from pipecd.controlplane.rpc.validation import validate_request
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.turns import yielding
from pipecd.errors import PermissionDenied
from pipecd.model.access import allows, describe

#: Calls that wait for an agent or a receiver. They count as streams, so that no other call waits for them.
WAITING = frozenset({"SeeResource", "TestReceiver", "TestProjectReceiver"})

#: Calls of people and programs that may read all records of a project: their filters have no index.
SCANS = frozenset(
    {
        "ListApplications",
        "ListAudit",
        "ListDeployments",
        "ListDeploymentTraces",
        "ListEvents",
        "PageApplications",
        "PageDeployments",
        "VerifyAudit",
    }
)


async def authorize(services: Services, method: Method, call: CallMetadata) -> Caller:
    """Authenticate the caller and check its permission. Raises Unauthenticated or PermissionDenied."""
    match method.needs:
        case PipedKey() as needs:
            scheme = identity.BEARER if needs.bearer else identity.PIPED_TOKEN
            return await identity.authenticate_agent(services, call, scheme)
        case ApiKey() as key:
            program = await identity.authenticate_program(services, call)
            with services.refusals.recording(program.actor):
                _check_role(program, key)
            return program
        case Right() as right:
            person = await identity.authenticate_person(services, call)
            with services.refusals.recording(person.actor):
                check_right(person, right)
            return replace(person, right=(right.resource, right.action))
        case Member():
            return await identity.authenticate_person(services, call)


async def serve(services: Services, method: Method, caller: Caller, request: Message) -> Message:
    """Serve an authorized unary call. Those of agents leave room for others in the database."""
    leaving_room = yielding() if isinstance(caller, Agent) else nullcontext()
    with leaving_room:
        return await _serve(services, method, caller, request)


async def _serve(services: Services, method: Method, caller: Caller, request: Message) -> Message:
    async with _limit(services, method, caller):
        await _check_request(services, method, caller, request)
        with services.refusals.recording(caller.actor):
            response: Message = await method.handler(services, caller, request)
    return response


@asynccontextmanager
async def _limit(services: Services, method: Method, caller: Caller) -> AsyncGenerator[None]:
    if method.name in WAITING:
        with services.call_limits.streaming(caller):
            yield
    elif method.name in SCANS and not isinstance(caller, Agent):
        async with services.call_limits.scanning(caller):
            yield
    else:
        async with services.call_limits.running(caller):
            yield


async def stream(
    services: Services, method: Method, caller: Caller, request: Message
) -> AsyncGenerator[Message]:
    """Serve an authorized streaming call; closing the generator ends the stream."""
    with services.call_limits.streaming(caller):
        await _check_request(services, method, caller, request)
        async with aclosing(method.handler(services, caller, request)) as messages:
            async for message in messages:
                yield message


async def _check_request(services: Services, method: Method, caller: Caller, request: Message) -> None:
    await validate_request(request)
    if isinstance(caller, Agent):
        await check_lease(services, method, caller)


def _check_role(program: Program, needs: ApiKey) -> None:
    purpose = describe(needs.right.resource, needs.right.action) if needs.right else "change anything"
    if needs.administers and not program.may_administer:
        raise PermissionDenied(
            f"API key {program.key_name} needs the role ADMIN to {purpose};"
            f" ask an administrator of project {program.project_id} for such a key"
        )
    if needs.writes and not program.may_write:
        raise PermissionDenied(
            f"API key {program.key_name} is read-only and cannot {purpose};"
            " use a key with the role READ_WRITE"
        )


def check_right(person: Person, right: Right) -> None:
    """Raises PermissionDenied unless the person's roles allow it."""
    if not allows(person.policies, right.resource, right.action):
        raise PermissionDenied(
            f"your roles do not allow you to {describe(right.resource, right.action)};"
            f" ask an administrator of project {person.project_id}"
        )

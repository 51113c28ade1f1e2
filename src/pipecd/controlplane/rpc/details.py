"""ConsoleService: details of one resource, and the log of a container. The application's agent reads them.

Nothing is stored. A call that ends, for example because its user left, ends the request at the agent.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

from pipecd.clock import timeout
from pipecd.controlplane.agent_requests import OpenRequest
from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.records import ownership, pipeds
from pipecd.controlplane.rpc.guard import check_right
from pipecd.controlplane.rpc.identity import refresh_person
from pipecd.controlplane.rpc.method import Right
from pipecd.controlplane.services import Services
from pipecd.errors import NotFound, PermissionDenied, PipecdError, Refused, Temporary, Unsupported
from pipecd.model.access import Action, Resource
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.agent_pb2 import AnswerResourceRequestRequest
from pipecd.schema.pipecd.v1.console_pb2 import (
    FollowContainerLogRequest,
    FollowContainerLogResponse,
    SeeResourceRequest,
)
from pipecd.schema.pipecd.v1.details_pb2 import LogOptions, ResourceDetails, ResourceRequest

#: The right that `follow_container_log` needs, as the schema says.
READ_LOG = Right(resource=Resource.CONTAINER_LOG, action=Action.GET)

_ERRORS: Mapping[AnswerResourceRequestRequest.Failure.ValueType, type[PipecdError]] = {
    AnswerResourceRequestRequest.REFUSED: Refused,
    AnswerResourceRequestRequest.NOT_FOUND: NotFound,
    AnswerResourceRequestRequest.TEMPORARY: Temporary,
    AnswerResourceRequestRequest.UNSUPPORTED: Unsupported,
}


async def see_resource(services: Services, person: Person, request: SeeResourceRequest) -> ResourceDetails:
    application = await ownership.get(services, person, Application, request.application_id)
    await _check_agent(services, application)
    wanted = ResourceRequest(application_id=application.id, resource_id=request.resource_id)
    async with services.agent_requests.open(
        wanted, project_id=person.project_id, piped_id=application.piped_id
    ) as opened:
        part = await first_part(services, opened)
    return part.details


async def follow_container_log(
    services: Services, person: Person, request: FollowContainerLogRequest
) -> AsyncGenerator[FollowContainerLogResponse]:
    """Ends when the log ends, and after `max_log_duration`; the reader then continues with `since`."""
    application = await ownership.get(services, person, Application, request.application_id)
    _check_labels(person, application)
    await _check_agent(services, application)
    wanted = ResourceRequest(application_id=application.id, resource_id=request.resource_id, log=LogOptions())
    wanted.log.CopyFrom(request.options)
    settings, clock = services.settings.agent_requests, services.clock
    ends_at = clock.monotonic() + settings.max_log_duration
    async with services.agent_requests.open(
        wanted, project_id=person.project_id, piped_id=application.piped_id
    ) as opened:
        part = await first_part(services, opened)
        checked_at = clock.monotonic()
        while True:
            yield FollowContainerLogResponse(lines=part.lines)
            if part.done or clock.monotonic() >= ends_at:
                return
            if clock.monotonic() - checked_at >= settings.log_heartbeat_interval:
                person = await _check_again(services, person, application.id)
                await services.agent_requests.check_connected(opened)
                checked_at = clock.monotonic()
            part = await _next_part(services, opened)


async def _check_again(services: Services, person: Person, application_id: str) -> Person:
    """Raises Unauthenticated, NotFound or PermissionDenied if the log may not be read any more."""
    person = replace(await refresh_person(services, person), right=person.right)
    check_right(person, READ_LOG)
    _check_labels(person, await ownership.get(services, person, Application, application_id))
    return person


def _check_labels(person: Person, application: Application) -> None:
    if not person.may(Resource.CONTAINER_LOG, application.labels):
        raise PermissionDenied(
            f"the roles of {person.name} do not include the logs of application {application.name};"
            " ask an administrator for a role whose labels match"
        )


async def _check_agent(services: Services, application: Application) -> None:
    """Raises Unsupported or Temporary with what the user can do if the agent cannot answer."""
    if await services.agent_requests.can_answer(application.piped_id):
        return
    try:
        record = (await services.store.get(Piped, application.piped_id)).message
    except NotFound:
        raise Unsupported("the application's piped is not registered any more") from None
    (piped,) = await pipeds.with_status(services, application.project_id, [record])
    if piped.status != Piped.ONLINE:
        raise Temporary(f"piped {piped.name} is not connected; details are shown when it is")
    version = f" (version {piped.version})" if piped.version else ""
    raise Unsupported(
        f"piped {piped.name}{version} does not offer details of resources. PipeCD's own piped does not"
        " have them, nor do older versions of this one; upgrade the piped"
    )


async def first_part(services: Services, opened: OpenRequest) -> AnswerResourceRequestRequest:
    seconds = services.settings.agent_requests.answer_timeout
    try:
        async with timeout(services.clock, seconds):
            return _check_failure(await opened.next_part())
    except TimeoutError:
        raise Temporary(f"the piped has not answered within {seconds:g} s; try again") from None


async def _next_part(services: Services, opened: OpenRequest) -> AnswerResourceRequestRequest:
    """A part without lines if none comes within the interval of heartbeats."""
    try:
        async with timeout(services.clock, services.settings.agent_requests.log_heartbeat_interval):
            return _check_failure(await opened.next_part())
    except TimeoutError:
        return AnswerResourceRequestRequest()


def _check_failure(part: AnswerResourceRequestRequest) -> AnswerResourceRequestRequest:
    if error := _ERRORS.get(part.failure):
        raise error(part.error or "the piped gave no reason")
    return part

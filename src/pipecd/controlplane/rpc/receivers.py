"""The receivers of an agent's notifications, as it reported them, those of a project, and test messages."""

from pipecd.controlplane.auth.caller import Agent, Caller, Person
from pipecd.controlplane.records import ownership
from pipecd.controlplane.rpc.details import first_part
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import outbox
from pipecd.controlplane.store.audit import Subject
from pipecd.controlplane.store.kinds import RECEIVERS
from pipecd.controlplane.store.secret_fields import redact
from pipecd.errors import NotFound, Refused, Temporary
from pipecd.notify.delivery import TEST_TIMEOUT, attempt
from pipecd.notify.message import test_message
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest
from pipecd.schema.pipecd.v1.notifications_pb2 import (
    AddProjectReceiverRequest,
    AddProjectReceiverResponse,
    DeleteProjectReceiverRequest,
    DeleteProjectReceiverResponse,
    ListProjectReceiversRequest,
    ListProjectReceiversResponse,
    ListReceiversRequest,
    ListReceiversResponse,
    ProjectReceiver,
    ReceiverStatus,
    ReportReceiversRequest,
    TestProjectReceiverRequest,
    TestProjectReceiverResponse,
    TestReceiverRequest,
    TestReceiverResponse,
    UpdateProjectReceiverRequest,
    UpdateProjectReceiverResponse,
)


async def record(services: Services, agent: Agent, request: ReportReceiversRequest) -> None:
    data = request.SerializeToString(deterministic=True)
    await services.store.put_metadata(RECEIVERS, agent.piped_id, agent.project_id, data, by=agent.actor)


async def list_receivers(
    services: Services, caller: Caller, request: ListReceiversRequest
) -> ListReceiversResponse:
    await ownership.get(services, caller, Piped, request.piped_id)
    return ListReceiversResponse(receivers=(await _reported(services, request.piped_id)).receivers)


async def test_receiver(
    services: Services, caller: Caller, request: TestReceiverRequest
) -> TestReceiverResponse:
    """The agent answers within its own limit of time. Raises what it failed with."""
    piped = await ownership.get(services, caller, Piped, request.piped_id)
    reported = await _reported(services, piped.id)
    if request.receiver not in {receiver.name for receiver in reported.receivers}:
        # An agent that reports no receivers does not know the request.
        raise NotFound(f"piped {piped.name} has reported no receiver {request.receiver!r}")
    record = Subject(kind="piped", id=piped.id, project_id=caller.project_id)
    after = {"test message to": request.receiver}
    await services.store.record_action("update", record, after, by=caller.actor)
    wanted = ResourceRequest(receiver=request.receiver)
    try:
        async with services.agent_requests.open(
            wanted, project_id=caller.project_id, piped_id=piped.id
        ) as opened:
            await first_part(services, opened)
    except Temporary as error:
        # The user wants to see this result, and no repetition by a client.
        raise Refused(str(error)) from error
    return TestReceiverResponse()


async def list_project_receivers(
    services: Services, caller: Caller, _: ListProjectReceiversRequest
) -> ListProjectReceiversResponse:
    project_id = caller.project_id
    receivers = await services.receivers.of(project_id)
    results = await outbox.results(services.store, project_id, list(receivers))
    waiting = await outbox.waiting_in(services.store, project_id)
    read_only = services.projects.is_configured(project_id)
    project = await services.projects.get(project_id)
    statuses = [
        ReceiverStatus(
            name=name,
            type=receiver.type,
            destination=receiver.destination,
            events=receiver.events,
            piped_ids=receiver.piped_ids,
            succeeded_at=results[name].succeeded_at,
            failed_at=results[name].failed_at,
            error=results[name].error,
            waiting=waiting.get(name, 0),
        )
        for name, receiver in receivers.items()
    ]
    return ListProjectReceiversResponse(
        receivers=statuses,
        settings=() if read_only else redact(project).receivers,
        read_only=read_only,
    )


async def add_project_receiver(
    services: Services, person: Person, request: AddProjectReceiverRequest
) -> AddProjectReceiverResponse:
    await _check_agents(services, person, request.receiver)
    await services.receivers.add(person.project_id, request.receiver, by=person.actor)
    return AddProjectReceiverResponse()


async def update_project_receiver(
    services: Services, person: Person, request: UpdateProjectReceiverRequest
) -> UpdateProjectReceiverResponse:
    await _check_agents(services, person, request.receiver)
    await services.receivers.update(person.project_id, request.receiver, by=person.actor)
    return UpdateProjectReceiverResponse()


async def delete_project_receiver(
    services: Services, person: Person, request: DeleteProjectReceiverRequest
) -> DeleteProjectReceiverResponse:
    await services.receivers.delete(person.project_id, request.name, by=person.actor)
    await outbox.forget(services.store, person.project_id, request.name)
    return DeleteProjectReceiverResponse()


async def test_project_receiver(
    services: Services, caller: Caller, request: TestProjectReceiverRequest
) -> TestProjectReceiverResponse:
    """Sends the message at once, before those that wait. Raises what the receiver failed with."""
    project_id, name = caller.project_id, request.name
    receiver = (await services.receivers.of(project_id)).get(name)
    if receiver is None:
        raise NotFound(f"the project has no receiver {name!r}")
    record = Subject(kind="project", id=project_id, project_id=project_id)
    await services.store.record_action("update", record, {"test message to": name}, by=caller.actor)
    message = test_message(piped="", project=project_id, web_address=services.address, at=services.now())
    outcome = await attempt(receiver.send, message, services.clock, TEST_TIMEOUT)
    error = receiver.redact(outcome.error)
    await outbox.record_result(services.store, project_id, name, error, by=caller.actor)
    if error:
        raise Refused(f"the receiver {name} did not accept a test message: {error}")
    return TestProjectReceiverResponse()


async def _check_agents(services: Services, person: Person, receiver: ProjectReceiver) -> None:
    """Raises NotFound: a receiver would never be notified of an agent that does not exist."""
    for id in receiver.piped_ids:
        await ownership.get(services, person, Piped, id)


async def _reported(services: Services, piped_id: str) -> ReportReceiversRequest:
    stored = await services.store.get_metadata(RECEIVERS, piped_id)
    return ReportReceiversRequest.FromString(stored[0]) if stored else ReportReceiversRequest()

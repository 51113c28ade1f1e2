"""The receivers of an agent's notifications: what the agent reported of them, and test messages."""

from pipecd.controlplane.auth.caller import Agent, Caller
from pipecd.controlplane.records import ownership
from pipecd.controlplane.rpc.details import first_part
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.audit import Subject
from pipecd.controlplane.store.kinds import RECEIVERS
from pipecd.errors import NotFound, Refused, Temporary
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.details_pb2 import ResourceRequest
from pipecd.schema.pipecd.v1.notifications_pb2 import (
    ListReceiversRequest,
    ListReceiversResponse,
    ReportReceiversRequest,
    TestReceiverRequest,
    TestReceiverResponse,
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
        raise NotFound(f"the agent {piped.name} has reported no receiver {request.receiver!r}")
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


async def _reported(services: Services, piped_id: str) -> ReportReceiversRequest:
    stored = await services.store.get_metadata(RECEIVERS, piped_id)
    return ReportReceiversRequest.FromString(stored[0]) if stored else ReportReceiversRequest()

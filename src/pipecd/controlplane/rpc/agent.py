"""AgentService handlers: pipecd's extension of PipeCD's protocol for its own agent."""

from collections.abc import Mapping

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.records import events, suggestions
from pipecd.controlplane.rpc import receivers, watch
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import ownership
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.feed import BY_AGENT
from pipecd.errors import Refused
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.pipecd.v1.agent_pb2 import (
    AnswerResourceRequestRequest,
    AnswerResourceRequestResponse,
    BeatRequest,
    BeatResponse,
    ReportEventResultsRequest,
    ReportEventResultsResponse,
    ReportEventWatchersRequest,
    ReportEventWatchersResponse,
    ReportHeldCommitsRequest,
    ReportHeldCommitsResponse,
    ReportUnregisteredApplicationsRequest,
    ReportUnregisteredApplicationsResponse,
)
from pipecd.schema.pipecd.v1.notifications_pb2 import ReportReceiversRequest, ReportReceiversResponse


async def report_unregistered(
    services: Services, agent: Agent, request: ReportUnregisteredApplicationsRequest
) -> ReportUnregisteredApplicationsResponse:
    """Replace the unregistered applications that this agent reported before."""
    if len(request.kinds) != len(request.applications):
        raise Refused(f"{len(request.kinds)} kinds for {len(request.applications)} applications")
    await suggestions.replace(
        services.store,
        agent.project_id,
        agent.piped_id,
        request.applications,
        request.kinds,
        request.invalid_files,
        by=agent.actor,
    )
    return ReportUnregisteredApplicationsResponse()


async def report_held_commits(
    services: Services, agent: Agent, request: ReportHeldCommitsRequest
) -> ReportHeldCommitsResponse:
    def change(record: Application) -> None:
        ownership.check_application(agent, record)
        if record.pin.deployment_id == request.pinned_deployment_id:
            del record.pin.held_commits[:]
            record.pin.held_commits.extend(request.commits)
            record.updated_at = services.now()

    await services.store.update(Application, request.application_id, change, by=agent.actor, detail=BY_AGENT)
    return ReportHeldCommitsResponse()


async def beat(services: Services, agent: Agent, request: BeatRequest) -> BeatResponse:
    await services.store.heartbeats.record(agent.piped_id, agent.project_id, request.instance)
    return BeatResponse()


async def answer_resource_request(
    services: Services, agent: Agent, request: AnswerResourceRequestRequest
) -> AnswerResourceRequestResponse:
    is_wanted = await services.agent_requests.answer(agent.piped_id, request)
    return AnswerResourceRequestResponse(cancelled=not is_wanted)


async def report_event_watchers(
    services: Services, agent: Agent, request: ReportEventWatchersRequest
) -> ReportEventWatchersResponse:
    await events.replace_watchers(services, agent, request)
    return ReportEventWatchersResponse()


async def report_event_results(
    services: Services, agent: Agent, request: ReportEventResultsRequest
) -> ReportEventResultsResponse:
    await events.report_results(services, agent, request)
    return ReportEventResultsResponse()


async def report_receivers(
    services: Services, agent: Agent, request: ReportReceiversRequest
) -> ReportReceiversResponse:
    await receivers.record(services, agent, request)
    return ReportReceiversResponse()


HANDLERS: Mapping[str, Handler] = {
    "AnswerResourceRequest": answer_resource_request,
    "Beat": beat,
    "ReportHeldCommits": report_held_commits,
    "ReportEventResults": report_event_results,
    "ReportEventWatchers": report_event_watchers,
    "ReportReceivers": report_receivers,
    "Watch": watch.watch_agent,
    "ReportUnregisteredApplications": report_unregistered,
}

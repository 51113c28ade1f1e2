"""Plan previews: requested from every agent that has the repository, collected when all have finished."""

from collections.abc import Sequence

from pipecd import proto_json
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands
from pipecd.controlplane.records.pipeds import with_status
from pipecd.controlplane.services import Services
from pipecd.controlplane.store import lists
from pipecd.errors import Conflict, NotFound, PermissionDenied
from pipecd.schema.api.plan_preview_pb2 import RequestPlanPreviewRequest
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult

#: How long an agent may take unless the request gives a timeout, in seconds.
DEFAULT_TIMEOUT = 300
#: How long a result is available, in seconds.
RESULT_LIFETIME = 24 * 3600


async def request(services: Services, caller: Caller, preview: RequestPlanPreviewRequest) -> Sequence[str]:
    """Create a command for each agent's repository that the pull request targets; returns the command IDs."""
    command_ids = []
    for piped in await lists.pipeds(services.store, caller.project_id, enabled=True):
        for repository in piped.repositories:
            if (repository.remote, repository.branch) != (preview.repo_remote_url, preview.base_branch):
                continue
            payload = Command.BuildPlanPreview(
                repository_id=repository.id,
                head_branch=preview.head_branch,
                head_commit=preview.head_commit,
                base_branch=preview.base_branch,
                timeout=preview.timeout,
            )
            command = commands.build(
                caller.project_id, piped.id, "pipectl", services.now(), build_plan_preview=payload
            )
            await services.store.create(command, by=caller.actor)
            command_ids.append(command.id)
    return command_ids


async def results(
    services: Services, caller: Caller, command_ids: Sequence[str], timeout: int
) -> Sequence[PlanPreviewCommandResult]:
    """The agents' results. Raises NotFound while any agent is still working within its timeout."""
    preview_commands = [await _get_command(services, caller, command_id) for command_id in command_ids]
    return [
        await _get_result(services, caller, command, timeout or DEFAULT_TIMEOUT)
        for command in preview_commands
    ]


async def _get_command(services: Services, caller: Caller, command_id: str) -> Command:
    command = (await services.store.get(Command, command_id)).message
    if command.project_id != caller.project_id:
        raise PermissionDenied(f"command {command_id} does not belong to project {caller.project_id}")
    if command.type != Command.BUILD_PLAN_PREVIEW:
        raise Conflict(f"command {command_id} is not a plan preview")
    return command


async def _get_result(
    services: Services, caller: Caller, command: Command, timeout: int
) -> PlanPreviewCommandResult:
    (piped,) = await with_status(
        services, caller.project_id, [(await services.store.get(Piped, command.piped_id)).message]
    )
    if command.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
        result = PlanPreviewCommandResult(error=_explain_missing_result(services, command, piped, timeout))
    elif services.now() - command.handled_at > RESULT_LIFETIME:
        raise Conflict(f"the result of command {command.id} is older than a day and no longer available")
    else:
        try:
            output = await services.blobs.command_output(command.id)
            result = proto_json.loads(PlanPreviewCommandResult, output)
        except NotFound:
            result = PlanPreviewCommandResult(error="the piped reported no result")
        except ValueError:
            result = PlanPreviewCommandResult(
                error="the piped's result cannot be parsed; check that the piped is up to date"
            )
    result.command_id, result.piped_id, result.piped_name = command.id, piped.id, piped.name
    result.piped_url = f"{services.address}/settings/piped"
    for application in result.results:
        application.application_url = f"{services.address}/applications/{application.application_id}"
    return result


def _explain_missing_result(services: Services, command: Command, piped: Piped, timeout: int) -> str:
    if piped.status != Piped.ONLINE:
        return f"piped {piped.name} is not online"
    if services.now() - command.created_at <= timeout:
        raise NotFound(f"command {command.id} has not been handled yet")
    return f"piped {piped.name} did not respond within {timeout} s"

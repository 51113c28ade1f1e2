"""Plan previews: asked of every agent that has the repository, gathered when they have answered."""

from collections.abc import Sequence

from pipecd import proto_json
from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands
from pipecd.controlplane.records.pipeds import with_status
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store import lists
from pipecd.errors import Conflict, NotFound, PermissionDenied
from pipecd.schema.api.plan_preview_pb2 import RequestPlanPreviewRequest
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult

#: How long an agent may take when nobody says, and how long its answer is kept (seconds).
USUAL_TIMEOUT, KEPT = 300, 24 * 3600


async def request(plane: Plane, caller: Caller, wanted: RequestPlanPreviewRequest) -> Sequence[str]:
    """A command for each repository of each agent that is the pull request's; their ids."""
    made = []
    for piped in await lists.pipeds(plane.store, caller.project_id, enabled=True):
        for repository in piped.repositories:
            if (repository.remote, repository.branch) != (wanted.repo_remote_url, wanted.base_branch):
                continue
            payload = Command.BuildPlanPreview(
                repository_id=repository.id,
                head_branch=wanted.head_branch,
                head_commit=wanted.head_commit,
                base_branch=wanted.base_branch,
                timeout=wanted.timeout,
            )
            command = commands.new(
                caller.project_id, piped.id, "pipectl", plane.now(), build_plan_preview=payload
            )
            await plane.store.create(command)
            made.append(command.id)
    return made


async def results(
    plane: Plane, caller: Caller, command_ids: Sequence[str], timeout: int
) -> Sequence[PlanPreviewCommandResult]:
    """What the agents answered. Raises NotFound while one of them is still at it."""
    found = [await _command(plane, caller, command_id) for command_id in command_ids]
    return [await _result(plane, caller, command, timeout or USUAL_TIMEOUT) for command in found]


async def _command(plane: Plane, caller: Caller, command_id: str) -> Command:
    command = (await plane.store.get(Command, command_id)).message
    if command.project_id != caller.project_id:
        raise PermissionDenied(f"command {command_id} does not belong to project {caller.project_id}")
    if command.type != Command.BUILD_PLAN_PREVIEW:
        raise Conflict(f"command {command_id} asked for no plan preview")
    return command


async def _result(plane: Plane, caller: Caller, command: Command, timeout: int) -> PlanPreviewCommandResult:
    (piped,) = await with_status(
        plane, caller.project_id, [(await plane.store.get(Piped, command.piped_id)).message]
    )
    if command.status == CommandStatus.COMMAND_NOT_HANDLED_YET:
        made = PlanPreviewCommandResult(error=_why_unanswered(plane, command, piped, timeout))
    elif plane.now() - command.handled_at > KEPT:
        raise Conflict(f"the answer to command {command.id} is older than a day and is not kept any more")
    else:
        try:
            output = await plane.blobs.command_output(command.id)
            made = proto_json.loads(PlanPreviewCommandResult, output)
        except NotFound:
            made = PlanPreviewCommandResult(error="the agent answered nothing")
        except ValueError:
            made = PlanPreviewCommandResult(error="the agent's answer cannot be read; is it up to date?")
    made.command_id, made.piped_id, made.piped_name = command.id, piped.id, piped.name
    made.piped_url = f"{plane.address}/settings/piped"
    for result in made.results:
        result.application_url = f"{plane.address}/applications/{result.application_id}"
    return made


def _why_unanswered(plane: Plane, command: Command, piped: Piped, timeout: int) -> str:
    if piped.status != Piped.ONLINE:
        return f"piped {piped.name} is not online"
    if plane.now() - command.created_at <= timeout:
        raise NotFound(f"command {command.id} is not answered yet")
    return f"piped {piped.name} did not answer within {timeout} s"

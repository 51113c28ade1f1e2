"""Applications: registered, changed and synced by programs and people of their project."""

from collections.abc import Callable, Mapping
from uuid import uuid4

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands, ownership
from pipecd.controlplane.services import Plane
from pipecd.errors import Conflict, NotFound, PipecdError, Refused
from pipecd.remotes import directory_url
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.strategy_pb2 import SyncStrategy

DEFAULT_CONFIG_FILENAME = "app.pipecd.yaml"


async def add(
    plane: Plane,
    caller: Caller,
    *,
    name: str,
    piped_id: str,
    git_path: ApplicationGitPath,
    kind: ApplicationKind.ValueType,
    platform_provider: str,
    description: str,
    labels: Mapping[str, str],
    deploy_targets: Mapping[str, DeployTargets],
) -> str:
    """The new application's id. Its repository is one that its piped reported."""
    piped = await ownership.get(plane, caller, Piped, piped_id)
    now = plane.now()
    made = Application(
        id=str(uuid4()),
        name=name,
        piped_id=piped_id,
        project_id=caller.project_id,
        kind=kind,
        git_path=_resolved(piped, git_path),
        platform_provider=platform_provider,
        cloud_provider=platform_provider,
        description=description,
        labels=labels,
        deploy_targets_by_plugin=deploy_targets,
        created_at=now,
        updated_at=now,
    )
    await plane.store.create(made)
    return made.id


def _resolved(piped: Piped, wanted: ApplicationGitPath) -> ApplicationGitPath:
    """`wanted` with remote and branch as its piped knows them, and a link for people."""
    for repository in piped.repositories:
        if repository.id == wanted.repo.id:
            url = directory_url(repository.remote, repository.branch, wanted.path)
            return ApplicationGitPath(
                repo=repository,
                path=wanted.path,
                config_filename=wanted.config_filename or DEFAULT_CONFIG_FILENAME,
                url=url,
            )
    known = ", ".join(repository.id for repository in piped.repositories) or "none yet"
    raise NotFound(f"piped {piped.name} has no repository {wanted.repo.id}; it reported {known}")


async def change(
    plane: Plane,
    caller: Caller,
    application_id: str,
    alter: Callable[[Application], None],
    foreign: type[PipecdError] | None = None,
) -> Application:
    """What was deleted does not change any more."""

    def alive(record: Application) -> None:
        if record.deleted:
            raise Refused(f"application {record.id} was deleted")
        alter(record)

    return await ownership.change(plane, caller, Application, application_id, alive, foreign)


async def enable(plane: Plane, caller: Caller, application_id: str) -> None:
    def alter(record: Application) -> None:
        record.disabled = False

    await change(plane, caller, application_id, alter)


async def disable(plane: Plane, caller: Caller, application_id: str) -> None:
    def alter(record: Application) -> None:
        record.disabled = True

    await change(plane, caller, application_id, alter)


async def delete(plane: Plane, caller: Caller, application_id: str) -> None:
    """The record stays, for the deployments that name it."""

    def alter(record: Application) -> None:
        record.deleted = record.disabled = True
        record.deleted_at = plane.now()

    await change(plane, caller, application_id, alter)


async def sync(
    plane: Plane, caller: Caller, application_id: str, strategy: SyncStrategy.ValueType = SyncStrategy.AUTO
) -> str:
    """Asks the application's agent for a deployment; the command's id."""
    application = await ownership.get(plane, caller, Application, application_id)
    if application.deleted or application.disabled:
        state = "deleted" if application.deleted else "disabled"
        raise Conflict(f"application {application.name} is {state} and cannot be synced")
    payload = Command.SyncApplication(application_id=application_id, sync_strategy=strategy)
    return await commands.order(plane, caller, application.piped_id, sync_application=payload)

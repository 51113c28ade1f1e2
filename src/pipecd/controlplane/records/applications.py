"""Registers, changes and syncs applications on behalf of users and API clients of their project."""

from collections.abc import Callable, Mapping
from uuid import uuid4

from pipecd.controlplane.auth.caller import Caller
from pipecd.controlplane.records import commands, ownership, pins
from pipecd.controlplane.services import Services
from pipecd.errors import Conflict, NotFound, PipecdError, Refused
from pipecd.remotes import directory_url
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.artifact_pb2 import DeployTargets
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.strategy_pb2 import SyncStrategy
from pipecd.wire import deploy_targets_to, kind_from, kind_number, provider_to

DEFAULT_CONFIG_FILENAME = "app.pipecd.yaml"


async def add(
    services: Services,
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
    """Register an application and return its ID. Raises NotFound unless its piped reported the repository."""
    piped = await ownership.get(services, caller, Piped, piped_id)
    now = services.now()
    application = Application(
        id=str(uuid4()),
        name=name,
        piped_id=piped_id,
        project_id=caller.project_id,
        kind=kind,
        git_path=_resolve_git_path(piped, git_path),
        platform_provider=platform_provider,
        cloud_provider=platform_provider,
        description=description,
        labels=labels,
        deploy_targets_by_plugin=deploy_targets,
        created_at=now,
        updated_at=now,
    )
    ownership.check(caller, application)
    await services.store.create(application, by=caller.actor)
    return application.id


def set_provider(record: Application, platform_provider: str) -> None:
    """Set the platform provider. The kind stays the same, also if it is a plugin's."""
    kind = kind_from(record)
    record.platform_provider = record.cloud_provider = provider_to(kind, platform_provider)
    record.kind = kind_number(kind)
    set_deploy_targets(record, deploy_targets_to(kind, platform_provider))


def set_deploy_targets(record: Application, targets: Mapping[str, DeployTargets]) -> None:
    """Replace the deploy targets; `targets` are by plugin."""
    record.deploy_targets_by_plugin.clear()
    for plugin, deploy_targets in targets.items():
        record.deploy_targets_by_plugin[plugin].CopyFrom(deploy_targets)


def _resolve_git_path(piped: Piped, git_path: ApplicationGitPath) -> ApplicationGitPath:
    """`git_path` completed with the remote and branch that the piped reported, and with a web link."""
    for repository in piped.repositories:
        if repository.id == git_path.repo.id:
            url = directory_url(repository.remote, repository.branch, git_path.path)
            return ApplicationGitPath(
                repo=repository,
                path=git_path.path,
                config_filename=git_path.config_filename or DEFAULT_CONFIG_FILENAME,
                url=url,
            )
    reported = ", ".join(repository.id for repository in piped.repositories) or "none yet"
    raise NotFound(
        f"piped {piped.name} has no repository {git_path.repo.id}; it reported {reported}",
        field="git_path.repo.id",
    )


async def change(
    services: Services,
    caller: Caller,
    application_id: str,
    alter: Callable[[Application], None],
    foreign_error: type[PipecdError] | None = None,
) -> Application:
    """Change an application with `alter`. Raises Refused if it was deleted."""

    def checked(record: Application) -> None:
        if record.deleted:
            raise Refused(f"application {record.id} was deleted")
        alter(record)

    return await ownership.change(services, caller, Application, application_id, checked, foreign_error)


async def enable(services: Services, caller: Caller, application_id: str) -> None:
    def alter(record: Application) -> None:
        record.disabled = False

    await change(services, caller, application_id, alter)


async def disable(services: Services, caller: Caller, application_id: str) -> None:
    def alter(record: Application) -> None:
        record.disabled = True

    await change(services, caller, application_id, alter)


async def delete(services: Services, caller: Caller, application_id: str) -> None:
    """Mark the application as deleted. Its record remains, because deployments refer to it.

    Deleting a deleted application changes nothing.
    """
    if (await ownership.get(services, caller, Application, application_id)).deleted:
        return

    def alter(record: Application) -> None:
        record.deleted = record.disabled = True
        record.deleted_at = record.deleted_at or services.now()

    await ownership.change(services, caller, Application, application_id, alter)


async def sync(
    services: Services,
    caller: Caller,
    application_id: str,
    strategy: SyncStrategy.ValueType = SyncStrategy.AUTO,
) -> str:
    """Send a sync command to the application's agent and return the command's ID."""
    application = await ownership.get(services, caller, Application, application_id)
    if application.deleted or application.disabled:
        state = "deleted" if application.deleted else "disabled"
        raise Conflict(f"application {application.name} is {state} and cannot be synced")
    pins.check_unpinned(application, services.now())
    payload = Command.SyncApplication(application_id=application_id, sync_strategy=strategy)
    return await commands.create(services, caller, application.piped_id, sync_application=payload)

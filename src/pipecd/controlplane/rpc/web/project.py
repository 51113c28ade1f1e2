"""WebService: the project, its roles and user groups, and the current user."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import structlog
from google.protobuf.message import Message

from pipecd.controlplane.auth import passwords
from pipecd.controlplane.auth.caller import Caller, Person
from pipecd.controlplane.auth.projects import legacy_groups
from pipecd.controlplane.auth.sso.flow import CALLBACK
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.secret_fields import redact
from pipecd.errors import AlreadyExists, ConfigError, NotFound, Refused, Temporary
from pipecd.model.access import BUILT_IN, Action, Resource, allows, conditions, is_role_name
from pipecd.printable import printable
from pipecd.schema.model.access_pb2 import (
    ProjectRBACPolicy,
    ProjectRBACResource,
    ProjectRBACRole,
    ProjectUserGroup,
)
from pipecd.schema.model.project_pb2 import Project
from pipecd.schema.pipecd.v1.console_pb2 import (
    RemoveSSORequest,
    RemoveSSOResponse,
    SeeProjectRequest,
    SeeProjectResponse,
    SeeRightsRequest,
    SeeRightsResponse,
    UpdateProjectRequest,
    UpdateProjectResponse,
    VerifySSORequest,
    VerifySSOResponse,
)
from pipecd.schema.web.project_pb2 import (
    AddProjectRBACRoleRequest,
    AddProjectRBACRoleResponse,
    AddProjectUserGroupRequest,
    AddProjectUserGroupResponse,
    DeleteProjectRBACRoleRequest,
    DeleteProjectRBACRoleResponse,
    DeleteProjectUserGroupRequest,
    DeleteProjectUserGroupResponse,
    DisableStaticAdminRequest,
    DisableStaticAdminResponse,
    EnableStaticAdminRequest,
    EnableStaticAdminResponse,
    GetMeRequest,
    GetMeResponse,
    GetProjectRequest,
    GetProjectResponse,
    UpdateProjectRBACConfigRequest,
    UpdateProjectRBACConfigResponse,
    UpdateProjectRBACRoleRequest,
    UpdateProjectRBACRoleResponse,
    UpdateProjectSSOConfigRequest,
    UpdateProjectSSOConfigResponse,
    UpdateProjectStaticAdminRequest,
    UpdateProjectStaticAdminResponse,
)

log = structlog.get_logger()

#: The roles that `UpdateProjectRBACConfig` gives to groups.
_LEGACY_ROLES: Sequence[Literal["admin", "editor", "viewer"]] = ("admin", "editor", "viewer")


async def get(services: Services, person: Person, _: GetProjectRequest) -> GetProjectResponse:
    """Return the project, with password hashes and client secrets redacted."""
    return GetProjectResponse(project=redact(await services.projects.get(person.project_id)))


async def get_me(services: Services, person: Person, _: GetMeRequest) -> GetMeResponse:
    return GetMeResponse(
        subject=person.username,
        avatar_url=person.session.avatar_url,
        project_id=person.project_id,
        user_id=services.sessions.user_id(person.session),
    )


def _change(response: type[Message], alter: Callable[[Project, Any], None]) -> Handler:
    """A handler that changes the caller's project; `alter` takes the project and the request."""

    async def handle(services: Services, caller: Caller, request: Any) -> Message:
        await services.projects.change(
            caller.project_id, lambda project: alter(project, request), by=caller.actor
        )
        return response()

    return handle


async def update_static_admin(
    services: Services, caller: Caller, request: UpdateProjectStaticAdminRequest
) -> UpdateProjectStaticAdminResponse:
    password_hash = await asyncio.to_thread(passwords.hash_password, request.password)

    def alter(project: Project) -> None:
        project.static_admin.username = request.username
        project.static_admin.password_hash = password_hash

    await services.projects.change(caller.project_id, alter, by=caller.actor)
    return UpdateProjectStaticAdminResponse()


def enable_static_admin(project: Project, _: EnableStaticAdminRequest) -> None:
    project.static_admin_disabled = False


def disable_static_admin(project: Project, _: DisableStaticAdminRequest) -> None:
    project.static_admin_disabled = True


async def update_sso(
    services: Services, caller: Caller, request: UpdateProjectSSOConfigRequest
) -> UpdateProjectSSOConfigResponse:
    await services.projects.set_provider(caller.project_id, request.sso, by=caller.actor)
    return UpdateProjectSSOConfigResponse()


async def see(services: Services, caller: Caller, _: SeeProjectRequest) -> SeeProjectResponse:
    project = await services.projects.get(caller.project_id)
    try:
        provider = await services.sso.provider(caller.project_id)
    except ConfigError as error:
        log.warning("provider_unavailable", project=caller.project_id, error=str(error))
        provider = None
    return SeeProjectResponse(
        project=redact(project),
        read_only=services.projects.is_configured(caller.project_id),
        sso_title=provider.settings.title if provider else "",
        sso_callback_url=services.address + CALLBACK if services.address else "",
    )


async def verify_sso(services: Services, caller: Caller, request: VerifySSORequest) -> VerifySSOResponse:
    try:
        provider = await services.projects.build_provider(caller.project_id, request.sso)
        await services.sso.check(provider)
    except (ConfigError, Refused, Temporary) as error:
        return VerifySSOResponse(problem=printable(str(error)))
    return VerifySSOResponse()


def remove_sso(project: Project, _: RemoveSSORequest) -> None:
    project.ClearField("sso")


async def see_rights(services: Services, person: Person, _: SeeRightsRequest) -> SeeRightsResponse:
    response = SeeRightsResponse()
    for resource in Resource:
        for action in Action:
            named = Action.ALL is not action and Resource.ALL is not resource
            if named and allows(person.policies, resource, action):
                right = response.rights.add(
                    resource=ProjectRBACResource.ResourceType.ValueType(resource),
                    action=ProjectRBACPolicy.Action.ValueType(action),
                )
                for labels in conditions(person.policies, resource, action) or ():
                    right.conditions.add(labels=labels)
    return response


def update_project(project: Project, request: UpdateProjectRequest) -> None:
    project.desc = request.description
    if request.HasField("allow_stray_as_viewer"):
        project.allow_stray_as_viewer = request.allow_stray_as_viewer


def update_rbac(project: Project, request: UpdateProjectRBACConfigRequest) -> None:
    project.rbac.CopyFrom(request.rbac)


def add_role(project: Project, request: AddProjectRBACRoleRequest) -> None:
    if request.name in BUILT_IN or any(role.name == request.name for role in project.rbac_roles):
        raise AlreadyExists(f"role {request.name} already exists; choose another name", field="name")
    if not is_role_name(request.name):
        raise Refused(
            f"{request.name!r} is not a valid role name",
            remedy="use up to 63 letters, digits, - and _, a letter first",
            field="name",
        )
    project.rbac_roles.append(ProjectRBACRole(name=request.name, policies=request.policies))


def update_role(project: Project, request: UpdateProjectRBACRoleRequest) -> None:
    role = _role(project, request.name)
    del role.policies[:]
    role.policies.extend(request.policies)


def delete_role(project: Project, request: DeleteProjectRBACRoleRequest) -> None:
    project.rbac_roles.remove(_role(project, request.name))
    if any(group.role == request.name for group in project.user_groups):
        raise Refused(f"role {request.name} is assigned to a user group; delete the group first")


def add_group(project: Project, request: AddProjectUserGroupRequest) -> None:
    groups = (*legacy_groups(project.rbac), *project.user_groups)
    if any(group.sso_group == request.sso_group for group in groups):
        raise AlreadyExists(
            f"group {request.sso_group} already has a role; delete it first", field="sso_group"
        )
    if request.role not in BUILT_IN and all(role.name != request.role for role in project.rbac_roles):
        raise NotFound(f"role {request.role} does not exist; choose another one", field="role")
    project.user_groups.append(ProjectUserGroup(sso_group=request.sso_group, role=request.role))


def delete_group(project: Project, request: DeleteProjectUserGroupRequest) -> None:
    groups = [group for group in project.user_groups if group.sso_group == request.sso_group]
    legacy_roles = [role for role in _LEGACY_ROLES if getattr(project.rbac, role) == request.sso_group]
    if not groups and not legacy_roles:
        raise NotFound(f"group {request.sso_group} does not exist")
    for group in groups:
        project.user_groups.remove(group)
    for role in legacy_roles:
        project.rbac.ClearField(role)


def _role(project: Project, name: str) -> ProjectRBACRole:
    if name in BUILT_IN:
        raise Refused(f"role {name} is built in and cannot be changed")
    for role in project.rbac_roles:
        if role.name == name:
            return role
    raise NotFound(f"role {name} does not exist")


HANDLERS: Mapping[str, Handler] = {
    "GetProject": get,
    "GetMe": get_me,
    "UpdateProjectStaticAdmin": update_static_admin,
    "EnableStaticAdmin": _change(EnableStaticAdminResponse, enable_static_admin),
    "DisableStaticAdmin": _change(DisableStaticAdminResponse, disable_static_admin),
    "UpdateProjectSSOConfig": update_sso,
    "UpdateProjectRBACConfig": _change(UpdateProjectRBACConfigResponse, update_rbac),
    "AddProjectRBACRole": _change(AddProjectRBACRoleResponse, add_role),
    "UpdateProjectRBACRole": _change(UpdateProjectRBACRoleResponse, update_role),
    "DeleteProjectRBACRole": _change(DeleteProjectRBACRoleResponse, delete_role),
    "AddProjectUserGroup": _change(AddProjectUserGroupResponse, add_group),
    "DeleteProjectUserGroup": _change(DeleteProjectUserGroupResponse, delete_group),
}

#: Of ConsoleService.
CONSOLE_HANDLERS: Mapping[str, Handler] = {
    "SeeProject": see,
    "UpdateProject": _change(UpdateProjectResponse, update_project),
    "VerifySSO": verify_sso,
    "RemoveSSO": _change(RemoveSSOResponse, remove_sso),
    "SeeRights": see_rights,
}

#: Of ProgramService, for API keys with the role ADMIN.
ADMINISTRATION: Mapping[str, Handler] = {
    **{name: handler for name, handler in CONSOLE_HANDLERS.items() if name != "SeeRights"},
    **{
        name: handler
        for name, handler in HANDLERS.items()
        if name not in ("GetProject", "GetMe", "UpdateProjectRBACConfig")
    },
}

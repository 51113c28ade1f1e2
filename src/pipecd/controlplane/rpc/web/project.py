"""WebService: the project, its roles and user groups, and the current user."""

import re
from collections.abc import Mapping

from pipecd.controlplane.auth import passwords
from pipecd.controlplane.auth.caller import Person
from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.secret_fields import redact
from pipecd.errors import AlreadyExists, NotFound, Refused, Unsupported
from pipecd.model.access import BUILT_IN
from pipecd.schema.model.access_pb2 import ProjectRBACRole, ProjectUserGroup
from pipecd.schema.model.project_pb2 import Project
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

_ROLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


async def get(services: Services, person: Person, _: GetProjectRequest) -> GetProjectResponse:
    """Return the project, with password hashes and client secrets redacted."""
    return GetProjectResponse(project=redact(await services.projects.get(person.project_id)))


async def get_me(services: Services, person: Person, _: GetMeRequest) -> GetMeResponse:
    return GetMeResponse(subject=person.username, avatar_url=person.avatar_url, project_id=person.project_id)


async def update_static_admin(
    services: Services, person: Person, request: UpdateProjectStaticAdminRequest
) -> UpdateProjectStaticAdminResponse:
    password_hash = passwords.hash_password(request.password)

    def alter(project: Project) -> None:
        project.static_admin.username = request.username
        project.static_admin.password_hash = password_hash

    await services.projects.change(person.project_id, alter, by=person.actor)
    return UpdateProjectStaticAdminResponse()


async def enable_static_admin(
    services: Services, person: Person, _: EnableStaticAdminRequest
) -> EnableStaticAdminResponse:
    def alter(project: Project) -> None:
        project.static_admin_disabled = False

    await services.projects.change(person.project_id, alter, by=person.actor)
    return EnableStaticAdminResponse()


async def disable_static_admin(
    services: Services, person: Person, _: DisableStaticAdminRequest
) -> DisableStaticAdminResponse:
    def alter(project: Project) -> None:
        project.static_admin_disabled = True

    await services.projects.change(person.project_id, alter, by=person.actor)
    return DisableStaticAdminResponse()


async def update_sso(
    _: Services, __: Person, request: UpdateProjectSSOConfigRequest
) -> UpdateProjectSSOConfigResponse:
    raise Unsupported(
        "this control plane does not support single sign-on yet; sign in as the project's static admin"
    )


async def update_rbac(
    services: Services, person: Person, request: UpdateProjectRBACConfigRequest
) -> UpdateProjectRBACConfigResponse:
    def alter(project: Project) -> None:
        project.rbac.CopyFrom(request.rbac)

    await services.projects.change(person.project_id, alter, by=person.actor)
    return UpdateProjectRBACConfigResponse()


async def add_role(
    services: Services, person: Person, request: AddProjectRBACRoleRequest
) -> AddProjectRBACRoleResponse:
    if not _ROLE_NAME.fullmatch(request.name):
        raise Refused(f"{request.name!r} is not a valid role name; use letters, digits, - and _")

    def alter(project: Project) -> None:
        if request.name in BUILT_IN or any(role.name == request.name for role in project.rbac_roles):
            raise AlreadyExists(f"role {request.name} already exists")
        project.rbac_roles.append(ProjectRBACRole(name=request.name, policies=request.policies))

    await services.projects.change(person.project_id, alter, by=person.actor)
    return AddProjectRBACRoleResponse()


async def update_role(
    services: Services, person: Person, request: UpdateProjectRBACRoleRequest
) -> UpdateProjectRBACRoleResponse:
    def alter(project: Project) -> None:
        role = _role(project, request.name)
        del role.policies[:]
        role.policies.extend(request.policies)

    await services.projects.change(person.project_id, alter, by=person.actor)
    return UpdateProjectRBACRoleResponse()


async def delete_role(
    services: Services, person: Person, request: DeleteProjectRBACRoleRequest
) -> DeleteProjectRBACRoleResponse:
    def alter(project: Project) -> None:
        project.rbac_roles.remove(_role(project, request.name))
        if any(group.role == request.name for group in project.user_groups):
            raise Refused(f"role {request.name} is assigned to a user group; delete the group first")

    await services.projects.change(person.project_id, alter, by=person.actor)
    return DeleteProjectRBACRoleResponse()


async def add_group(
    services: Services, person: Person, request: AddProjectUserGroupRequest
) -> AddProjectUserGroupResponse:
    def alter(project: Project) -> None:
        if any(group.sso_group == request.sso_group for group in project.user_groups):
            raise AlreadyExists(f"group {request.sso_group} already has a role")
        if request.role not in BUILT_IN:
            _role(project, request.role)
        project.user_groups.append(ProjectUserGroup(sso_group=request.sso_group, role=request.role))

    await services.projects.change(person.project_id, alter, by=person.actor)
    return AddProjectUserGroupResponse()


async def delete_group(
    services: Services, person: Person, request: DeleteProjectUserGroupRequest
) -> DeleteProjectUserGroupResponse:
    def alter(project: Project) -> None:
        for group in project.user_groups:
            if group.sso_group == request.sso_group:
                project.user_groups.remove(group)
                return
        raise NotFound(f"group {request.sso_group} does not exist")

    await services.projects.change(person.project_id, alter, by=person.actor)
    return DeleteProjectUserGroupResponse()


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
    "EnableStaticAdmin": enable_static_admin,
    "DisableStaticAdmin": disable_static_admin,
    "UpdateProjectSSOConfig": update_sso,
    "UpdateProjectRBACConfig": update_rbac,
    "AddProjectRBACRole": add_role,
    "UpdateProjectRBACRole": update_role,
    "DeleteProjectRBACRole": delete_role,
    "AddProjectUserGroup": add_group,
    "DeleteProjectUserGroup": delete_group,
}

"""Projects: those of the configuration file first, then those in the store.

A project of the configuration is not changed over the wire: its file is the truth. Called by sign-in,
by `rpc.identity` and by the console's project calls.
"""

from collections.abc import Callable, Sequence

from pipecd.config.controlplane import Project as ConfiguredProject
from pipecd.controlplane.auth import passwords
from pipecd.controlplane.store import Store
from pipecd.errors import Conflict, NotFound, Unauthenticated
from pipecd.model.access import BUILT_IN, Action, Policy, Resource, policies_of
from pipecd.schema.model.access_pb2 import (
    ProjectRBACPolicy,
    ProjectRBACResource,
    ProjectRBACRole,
)
from pipecd.schema.model.project_pb2 import Project, ProjectStaticUser


class Projects:
    def __init__(self, store: Store, configured: Sequence[ConfiguredProject]) -> None:
        self._store = store
        self._configured = {project.id: _record(project) for project in configured}

    async def get(self, project_id: str) -> Project:
        """The project with its built-in roles. Raises NotFound."""
        project = self._configured.get(project_id)
        if project is None:
            project = (await self._store.get(Project, project_id)).message
        made = Project()
        made.CopyFrom(project)
        own = [role for role in made.rbac_roles if role.name not in BUILT_IN]
        del made.rbac_roles[:]
        made.rbac_roles.extend([*_BUILT_IN_ROLES, *own])
        return made

    async def exists(self, project_id: str) -> bool:
        if project_id in self._configured:
            return True
        try:
            await self._store.get(Project, project_id)
        except NotFound:
            return False
        return True

    async def policies(self, project_id: str, roles: Sequence[str]) -> tuple[Policy, ...]:
        """What the roles called `roles` allow in the project."""
        if not set(roles) - BUILT_IN.keys():
            return policies_of(roles, {})
        project = await self.get(project_id)
        return policies_of(roles, {role.name: _policies(role) for role in project.rbac_roles})

    async def change(self, project_id: str, alter: Callable[[Project], None]) -> None:
        """Raises Conflict for a project that stands in the configuration file."""
        if project_id in self._configured:
            raise Conflict(
                f"project {project_id} is defined in the control plane's configuration file; change it there"
            )
        await self._store.update(Project, project_id, alter)

    async def check_static_admin(self, project_id: str, username: str, password: str) -> None:
        """Raises Unauthenticated; takes as long whatever was wrong."""
        admin = ProjectStaticUser()
        try:
            project = await self.get(project_id)
            if not project.static_admin_disabled:
                admin = project.static_admin
        except NotFound:
            project = Project()
        good = bool(admin.username) and admin.username == username
        fits = await passwords.fits(password, admin.password_hash if good else passwords.NOBODY)
        if not (good and fits):
            raise Unauthenticated("the project, the user name or the password is wrong")


def _record(project: ConfiguredProject) -> Project:
    made = Project(id=project.id, desc=project.desc, created_at=1, updated_at=1)
    if project.static_admin:
        made.static_admin.username = project.static_admin.username
        made.static_admin.password_hash = project.static_admin.password_hash
    else:
        made.static_admin_disabled = True
    return made


def _policies(role: ProjectRBACRole) -> Sequence[Policy]:
    return [
        Policy(
            resources=frozenset(Resource(one.type) for one in policy.resources),
            actions=frozenset(Action(one) for one in policy.actions),
        )
        for policy in role.policies
    ]


def _built_in(name: str, policies: Sequence[Policy]) -> ProjectRBACRole:
    made = ProjectRBACRole(name=name, is_builtin=True)
    for policy in policies:
        made.policies.append(
            ProjectRBACPolicy(
                resources=[
                    ProjectRBACResource(type=ProjectRBACResource.ResourceType.ValueType(one))
                    for one in sorted(policy.resources)
                ],
                actions=[ProjectRBACPolicy.Action.ValueType(one) for one in sorted(policy.actions)],
            )
        )
    return made


_BUILT_IN_ROLES: Sequence[ProjectRBACRole] = tuple(
    _built_in(name, policies) for name, policies in BUILT_IN.items()
)

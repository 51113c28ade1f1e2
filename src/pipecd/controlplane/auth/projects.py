"""Projects, from the configuration file and from the store; the configuration file takes precedence.

Projects defined in the configuration file cannot be changed through the API. Called by sign-in, by
`rpc.identity` and by the console's project RPCs.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence

from pipecd.config.controlplane import Project as ConfiguredProject
from pipecd.config.sso import SharedSSO
from pipecd.controlplane.auth import passwords
from pipecd.controlplane.auth.credential_cache import CredentialCache
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.auth.sso.providers import (
    Provider,
    decrypt,
    encrypt_client,
    from_config,
    from_record,
)
from pipecd.controlplane.auth.sso.roles import roles_of
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.kinds import CONFIGURED_PROJECT
from pipecd.controlplane.store.secret_fields import REDACTED
from pipecd.errors import ConfigError, Conflict, NotFound, Unauthenticated
from pipecd.model.access import ADMIN, BUILT_IN, EDITOR, VIEWER, Action, Policy, Resource, policies_of
from pipecd.model.actor import Actor
from pipecd.schema.model.access_pb2 import (
    ProjectRBACConfig,
    ProjectRBACPolicy,
    ProjectRBACResource,
    ProjectRBACRole,
    ProjectUserGroup,
)
from pipecd.schema.model.project_pb2 import Project, ProjectSSOConfig, ProjectStaticUser
from pipecd.schema.pipecd.v1.notifications_pb2 import ProjectReceiver
from pipecd.wire import policy_to


class Projects:
    """`key` is the encryption key. Raises ConfigError if a client secret cannot be read."""

    def __init__(
        self,
        store: Store,
        credentials: CredentialCache,
        configured: Sequence[ConfiguredProject],
        shared: Sequence[SharedSSO],
        key: bytes,
    ) -> None:
        self._store, self._credentials, self._key = store, credentials, key
        self._configured = {project.id: _to_record(project) for project in configured}
        self._providers = {project.id: from_config(project.sso) for project in configured if project.sso}
        self._shared = {config.name: from_config(config) for config in shared}

    async def record_configured(self, by: Actor) -> None:
        """Record which projects the configuration file added or changed since the last start.

        Only a digest of a password's hash is stored: the configuration file remains its only place.
        """
        for project_id, project in self._configured.items():
            stored = Project()
            stored.CopyFrom(project)
            if stored.static_admin.password_hash:
                digest = hashlib.sha256(stored.static_admin.password_hash.encode()).hexdigest()
                stored.static_admin.password_hash = digest
            data = stored.SerializeToString(deterministic=True)
            await self._store.put_metadata(CONFIGURED_PROJECT, project_id, project_id, data, by=by)

    async def get(self, project_id: str) -> Project:
        """The project with its built-in roles, and all of its user groups. Raises NotFound."""
        copy = Project()
        copy.CopyFrom(await self._load(project_id))
        custom_roles = [role for role in copy.rbac_roles if role.name not in BUILT_IN]
        del copy.rbac_roles[:]
        copy.rbac_roles.extend([*_BUILT_IN_ROLES, *custom_roles])
        groups = [*legacy_groups(copy.rbac), *copy.user_groups]
        del copy.user_groups[:]
        copy.user_groups.extend(groups)
        return copy

    def is_configured(self, project_id: str) -> bool:
        """Whether the configuration file defines the project, so that it cannot be changed."""
        return project_id in self._configured

    async def exists(self, project_id: str) -> bool:
        try:
            await self._load(project_id)
        except NotFound:
            return False
        return True

    async def policies(self, project_id: str, roles: Sequence[str]) -> tuple[Policy, ...]:
        """The policies of the roles named `roles` in the project."""
        if not set(roles) - BUILT_IN.keys():
            return policies_of(roles, {})
        project = await self.get(project_id)
        return policies_of(roles, {role.name: _parse_policies(role) for role in project.rbac_roles})

    async def provider(self, project_id: str) -> Provider | None:
        """The provider that authenticates the users of the project, if it has one.

        Raises NotFound, or ConfigError if its configuration is invalid.
        """
        if own := self._providers.get(project_id):
            return own
        project = await self._load(project_id)
        if project.shared_sso_name:
            shared = self._shared.get(project.shared_sso_name)
            if shared is None:
                raise ConfigError(f"sharedSSOConfigs of the control plane has no {project.shared_sso_name}")
            return shared
        return from_record(project.sso, self._key) if project.HasField("sso") else None

    async def set_provider(self, project_id: str, sso: ProjectSSOConfig, *, by: Actor) -> None:
        """Store the project's own provider, with an encrypted client. Raises Refused or Conflict.

        A client's id or secret that is empty, or as the console received it, stays as it is.
        """

        def alter(project: Project) -> None:
            project.sso.CopyFrom(self._complete(sso, project))

        await self.change(project_id, alter, by=by)

    async def build_provider(self, project_id: str, sso: ProjectSSOConfig) -> Provider:
        """The provider that `set_provider` would store. Raises Refused, ConfigError or NotFound."""
        return from_record(self._complete(sso, await self._load(project_id)), self._key)

    def _complete(self, sso: ProjectSSOConfig, project: Project) -> ProjectSSOConfig:
        """For the store: `sso` with the credentials of the project's present one where it has none."""
        given = ProjectSSOConfig(provider=sso.provider, session_ttl=sso.session_ttl)
        name = "oidc" if sso.provider == ProjectSSOConfig.OIDC else "github"
        client, stored = getattr(given, name), getattr(project.sso, name)
        client.CopyFrom(getattr(sso, name))
        for field in ("client_id", "client_secret"):
            if getattr(client, field) in ("", REDACTED):
                old = getattr(stored, field)
                setattr(client, field, decrypt(old, self._key) if old else "")
        return encrypt_client(given, self._key)

    async def current_roles(self, session: Session) -> Sequence[str]:
        """The roles that the user of `session` has now.

        Raises Unauthenticated if what the session was started with has changed, or gives no role any more.
        """
        if not session.from_provider:
            if session.credential:
                await self.check_credential(session.project_id, session.credential)
            return session.roles
        try:
            provider = await self.provider(session.project_id)
            project = await self.get(session.project_id)
        except (ConfigError, NotFound):
            provider = None
        if provider is None or not hmac.compare_digest(provider.credential, session.credential):
            raise Unauthenticated("the single sign-on of the project was changed; sign in again")
        roles_by_group = {group.sso_group: group.role for group in project.user_groups}
        matched = [group for group in session.groups if group in roles_by_group or group in session.roles]
        roles = roles_of(matched, roles_by_group, stray_as_viewer=project.allow_stray_as_viewer)
        if not roles:
            raise Unauthenticated("none of your groups has a role in the project any more; sign in again")
        return roles

    def encrypt_client(self, sso: ProjectSSOConfig) -> ProjectSSOConfig:
        """A copy of `sso` for the store, with the client's id and secret encrypted. Raises Refused."""
        return encrypt_client(sso, self._key)

    async def change(self, project_id: str, alter: Callable[[Project], None], *, by: Actor) -> None:
        """Raises Conflict for a project defined in the configuration file."""
        if self.is_configured(project_id):
            raise Conflict(
                f"project {project_id} is defined in the control plane's configuration file; change it there"
            )
        await self._store.update(Project, project_id, alter, by=by)

    async def check_static_admin(self, project_id: str, username: str, password: str) -> str:
        """Verify a password. Returns the `credential` of a session.

        Raises Unauthenticated. Takes equally long whether the project, user name or password is wrong.
        """
        admin = await self._static_admin(project_id)
        known_user = bool(admin.username) and admin.username == username
        password_hash = admin.password_hash if known_user else passwords.DUMMY_HASH
        correct = await passwords.verify_password(password, password_hash)
        if not (known_user and correct):
            raise Unauthenticated("the project, the user name or the password is wrong")
        return _credential(admin)

    async def check_credential(self, project_id: str, credential: str) -> None:
        """Raises Unauthenticated if the static admin was disabled or renamed, or has another password."""
        if not hmac.compare_digest(_credential(await self._static_admin(project_id)), credential):
            raise Unauthenticated("the password was changed, or access was revoked; sign in again")

    async def _static_admin(self, project_id: str) -> ProjectStaticUser:
        """Empty if the project does not exist, or its static admin is disabled."""
        try:
            project = await self._load(project_id)
        except NotFound:
            return ProjectStaticUser()
        return ProjectStaticUser() if project.static_admin_disabled else project.static_admin

    async def _load(self, project_id: str) -> Project:
        """The project as it is configured or stored; callers must not modify it. Raises NotFound."""
        return self._configured.get(project_id) or await self._credentials.get(Project, project_id)


def legacy_groups(rbac: ProjectRBACConfig) -> Sequence[ProjectUserGroup]:
    """The groups of `UpdateProjectRBACConfig`: one for each role. A group has the highest of its roles."""
    groups: dict[str, str] = {}
    for role, group in ((ADMIN, rbac.admin), (EDITOR, rbac.editor), (VIEWER, rbac.viewer)):
        if group:
            groups.setdefault(group, role)
    return [ProjectUserGroup(sso_group=group, role=role) for group, role in groups.items()]


def _credential(admin: ProjectStaticUser) -> str:
    """Differs for each user name and password. The hash is salted, so that nothing can be guessed from it."""
    if not admin.username:
        return ""
    return hashlib.sha256(f"{admin.username}\0{admin.password_hash}".encode()).hexdigest()


def _to_record(project: ConfiguredProject) -> Project:
    record = Project(id=project.id, desc=project.desc, created_at=1, updated_at=1)
    if project.static_admin:
        record.static_admin.username = project.static_admin.username
        record.static_admin.password_hash = project.static_admin.password_hash
    else:
        record.static_admin_disabled = True
    record.shared_sso_name = project.shared_sso_name
    record.allow_stray_as_viewer = project.allow_stray_as_viewer
    record.user_groups.extend(
        ProjectUserGroup(sso_group=group.sso_group, role=group.role) for group in project.user_groups
    )
    record.rbac_roles.extend(
        ProjectRBACRole(name=role.name, policies=[policy_to(policy) for policy in role.written_policies])
        for role in project.roles
    )
    # Only so that the audit log shows them: their settings stay in the file.
    record.receivers.extend(
        ProjectReceiver(name=receiver.name) for receiver in project.notifications.receivers
    )
    return record


def _parse_policies(role: ProjectRBACRole) -> Sequence[Policy]:
    """One policy for each resource: each has labels of its own."""
    return [
        Policy(
            resources=frozenset({Resource(resource.type)}),
            actions=frozenset(Action(action) for action in policy.actions),
            labels=frozenset(resource.labels.items()),
        )
        for policy in role.policies
        for resource in policy.resources
    ]


def _build_built_in_role(name: str, policies: Sequence[Policy]) -> ProjectRBACRole:
    role = ProjectRBACRole(name=name, is_builtin=True)
    for policy in policies:
        role.policies.append(
            ProjectRBACPolicy(
                resources=[
                    ProjectRBACResource(type=ProjectRBACResource.ResourceType.ValueType(resource))
                    for resource in sorted(policy.resources)
                ],
                actions=[ProjectRBACPolicy.Action.ValueType(action) for action in sorted(policy.actions)],
            )
        )
    return role


_BUILT_IN_ROLES: Sequence[ProjectRBACRole] = tuple(
    _build_built_in_role(name, policies) for name, policies in BUILT_IN.items()
)

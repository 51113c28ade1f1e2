"""`pipectl role …` and `pipectl user-group …`: who may do what in the project."""

from dataclasses import replace
from pathlib import Path

import click

from pipecd.client import Client
from pipecd.config.named_file import read_named_file
from pipecd.model.policy_text import format_policy, parse_policies
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import Output, View, echo, list_view, show, view_options
from pipecd.pipectl.projects import notes_of, see
from pipecd.pipectl.unsupported import of_settings
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy
from pipecd.schema.pipecd.v1.console_pb2 import SeeProjectResponse
from pipecd.schema.web.project_pb2 import (
    AddProjectRBACRoleRequest,
    AddProjectUserGroupRequest,
    DeleteProjectRBACRoleRequest,
    DeleteProjectUserGroupRequest,
    UpdateProjectRBACRoleRequest,
)
from pipecd.wire import policy_from, policy_to

_NAME = click.option("--name", required=True, help="Name of the role.")
_POLICY = click.option(
    "--policy", "policies", multiple=True, help="Such as resources=application{env:dev};actions=get,list."
)
_POLICIES_FILE = click.option(
    "--policies-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with policies, separated by empty lines.",
)
_GROUP = click.option("--group", required=True, help="Group as the provider names it, such as org/team.")


@click.command("list")
@view_options
@with_client
async def list_command(client: Client, *, output: Output) -> None:
    """List the roles and their policies."""
    await show(client.clock, lambda: see(client), _list_view, output)


def _list_view(response: SeeProjectResponse) -> View:
    rows = []
    for role in response.project.rbac_roles:
        texts = [format_policy(policy_from(policy)) for policy in role.policies] or [""]
        kind = "built-in" if role.is_builtin else "custom"
        rows.append([role.name, kind, texts[0]])
        rows.extend(["", "", text] for text in texts[1:])
    view = list_view(["NAME", "KIND", "POLICIES"], rows, empty="The project has no roles.")
    return replace(view, notes=[*view.notes, *notes_of(response)])


@click.command()
@_NAME
@_POLICY
@_POLICIES_FILE
@with_client
async def add(client: Client, *, name: str, policies: tuple[str, ...], policies_file: Path | None) -> None:
    """Add a role."""
    request = AddProjectRBACRoleRequest(name=name, policies=_parse(policies, policies_file))
    with of_settings():
        await client.call(client.program.AddProjectRBACRole, request)
    echo(f"Added the role {name}.")


@click.command()
@_NAME
@_POLICY
@_POLICIES_FILE
@with_client
async def update(client: Client, *, name: str, policies: tuple[str, ...], policies_file: Path | None) -> None:
    """Replace the policies of a role. They count at once."""
    request = UpdateProjectRBACRoleRequest(name=name, policies=_parse(policies, policies_file))
    with of_settings():
        await client.call(client.program.UpdateProjectRBACRole, request)
    echo(f"Changed the role {name}.")


@click.command()
@_NAME
@with_client
async def delete(client: Client, *, name: str) -> None:
    """Delete a role that no user group has."""
    with of_settings():
        await client.call(client.program.DeleteProjectRBACRole, DeleteProjectRBACRoleRequest(name=name))
    echo(f"Deleted the role {name}.")


@click.command("list")
@view_options
@with_client
async def list_groups(client: Client, *, output: Output) -> None:
    """List the user groups and their roles."""
    await show(client.clock, lambda: see(client), _groups_view, output)


def _groups_view(response: SeeProjectResponse) -> View:
    rows = [[group.sso_group, group.role] for group in response.project.user_groups]
    view = list_view(["GROUP", "ROLE"], rows, empty="The project has no user groups.")
    return replace(view, notes=[*view.notes, *notes_of(response)])


@click.command("add")
@_GROUP
@click.option("--role", required=True, help="Role that its members have.")
@with_client
async def add_group(client: Client, *, group: str, role: str) -> None:
    """Give a role to the members of a group."""
    request = AddProjectUserGroupRequest(sso_group=group, role=role)
    with of_settings():
        await client.call(client.program.AddProjectUserGroup, request)
    echo(f"Members of {group} have the role {role}.")


@click.command("delete")
@_GROUP
@with_client
async def delete_group(client: Client, *, group: str) -> None:
    """Take its role from a group. It counts at once."""
    request = DeleteProjectUserGroupRequest(sso_group=group)
    with of_settings():
        await client.call(client.program.DeleteProjectUserGroup, request)
    echo(f"Members of {group} have no role by it any more.")


def _parse(policies: tuple[str, ...], file: Path | None) -> list[ProjectRBACPolicy]:
    """Raises ConfigError or UsageError."""
    texts = list(policies)
    if file is not None:
        texts.append(read_named_file(file, "--policies-file"))
    parsed = [policy_to(policy) for policy in parse_policies(texts)]
    if not parsed:
        raise click.UsageError("a role needs a policy: use --policy or --policies-file")
    return parsed

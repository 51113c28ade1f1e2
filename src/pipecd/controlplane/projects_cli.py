"""`pipecd projects …`: projects of the database, for the operator of the control plane.

The commands open the database of the configuration file, also while servers use it; servers see the change at
once. Projects of the configuration file are changed there.
"""

import asyncio
import getpass
import secrets
import string
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.controlplane import ControlPlaneSpec, database_url
from pipecd.config.named_file import read_named_file
from pipecd.controlplane.auth.passwords import hash_password
from pipecd.controlplane.cli import configuration
from pipecd.controlplane.store import Store, lists
from pipecd.errors import AlreadyExists, Refused
from pipecd.model.actor import Actor, ActorKind
from pipecd.model.project import is_project_id
from pipecd.schema.model.project_pb2 import Project, ProjectStaticUser

Result = TypeVar("Result")

_CONFIG_FILE = click.option(
    "--config-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Configuration file of the servers (kind: ControlPlane).",
)
_ID = click.option("--id", "project_id", required=True, help="Id of the project.")
_PASSWORD_FILE = click.option(
    "--password-file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="File with the static admin's password, instead of a generated one.",
)
#: Of a generated password, as in PipeCD.
_PASSWORD_LENGTH = 30
_ALPHABET = string.ascii_letters + string.digits


@click.group()
def command() -> None:
    """Add and list projects of the database."""


@command.command()
@_CONFIG_FILE
@_ID
@click.option("--desc", default="", help="Description.")
@click.option("--username", default="admin", show_default=True, help="User name of the static admin.")
@_PASSWORD_FILE
def add(config_file: Path, project_id: str, desc: str, username: str, password_file: Path | None) -> None:
    """Add a project and print the password of its static admin."""
    if not is_project_id(project_id):
        raise Refused(
            f"{project_id!r} is not a project id",
            remedy="use up to 63 letters, digits and -, beginning with a letter or a digit",
        )
    if not username.strip():
        raise Refused("--username is empty", remedy="give the static admin a name to sign in with")
    with configuration(config_file) as spec:
        if _is_configured(spec, project_id):
            raise AlreadyExists(f"project {project_id} is defined in {config_file}")
        password = _read_password(password_file)
        now = int(SYSTEM_CLOCK.now())
        project = Project(
            id=project_id,
            desc=desc,
            static_admin=ProjectStaticUser(username=username, password_hash=hash_password(password)),
            created_at=now,
            updated_at=now,
        )
        _run(spec, lambda store: store.create(project, by=_operator("add-project")))
        click.echo(f"Added project {project_id}. Sign in as {username}.")
        if password_file is None:
            click.echo(f"Password: {password}")


@command.command("reset-password")
@_CONFIG_FILE
@_ID
@_PASSWORD_FILE
def reset_password(config_file: Path, project_id: str, password_file: Path | None) -> None:
    """Give the static admin another password, and enable it. Ends the sessions with the old one."""
    with configuration(config_file) as spec:
        if _is_configured(spec, project_id):
            raise Refused(
                f"project {project_id} is defined in {config_file}",
                remedy="change its staticAdmin.passwordHash there, to the output of `pipecd hash-password`",
            )
        password = _read_password(password_file)
        password_hash = hash_password(password)

        def change(project: Project) -> None:
            project.static_admin.password_hash = password_hash
            project.static_admin_disabled = False
            project.updated_at = int(SYSTEM_CLOCK.now())

        by = _operator("reset-password")
        record = _run(spec, lambda store: store.update(Project, project_id, change, by=by))
        click.echo(f"Changed the password of {record.message.static_admin.username}.")
        if password_file is None:
            click.echo(f"Password: {password}")


@command.command("list")
@_CONFIG_FILE
def list_command(config_file: Path) -> None:
    """List the projects: of the database and of the configuration file."""
    with configuration(config_file) as spec:
        configured = {project.id: project.desc for project in spec.projects}
        stored: Sequence[Project] = _run(spec, lists.projects)
        rows = [(id, "configuration", desc) for id, desc in configured.items()]
        rows += [(project.id, "database", project.desc) for project in stored if project.id not in configured]
        for id, place, desc in sorted(rows):
            click.echo(f"{id}\t{place}\t{desc}".rstrip())


def _is_configured(spec: ControlPlaneSpec, project_id: str) -> bool:
    return any(project.id == project_id for project in spec.projects)


def _run(spec: ControlPlaneSpec, function: Callable[[Store], Awaitable[Result]]) -> Result:
    """The result of `function` with the opened database."""

    async def run() -> Result:
        store = await Store.open(database_url(spec))
        try:
            return await function(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _operator(action: str) -> Actor:
    """The user of the machine who runs the command."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "operator"
    return Actor(kind=ActorKind.OPERATOR, id=name, name=name, action=action)


def _read_password(file: Path | None) -> str:
    if file is None:
        return "".join(secrets.choice(_ALPHABET) for _ in range(_PASSWORD_LENGTH))
    return read_named_file(file, "--password-file")

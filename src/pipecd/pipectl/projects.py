"""`pipectl project …`: description, static admin and single sign-on of the project."""

from collections.abc import Sequence
from pathlib import Path

import click

from pipecd.client import Client
from pipecd.config.named_file import read_named_file
from pipecd.errors import ConfigError
from pipecd.pipectl.connection import with_client
from pipecd.pipectl.output import Output, View, echo, fields, show, view_options
from pipecd.pipectl.unsupported import of_settings
from pipecd.pipectl.values import parse_list
from pipecd.schema.model.project_pb2 import ProjectSSOConfig
from pipecd.schema.pipecd.v1.console_pb2 import (
    RemoveSSORequest,
    SeeProjectRequest,
    SeeProjectResponse,
    UpdateProjectRequest,
    VerifySSORequest,
)
from pipecd.schema.web.project_pb2 import (
    DisableStaticAdminRequest,
    EnableStaticAdminRequest,
    UpdateProjectSSOConfigRequest,
    UpdateProjectStaticAdminRequest,
)

#: What the control plane sends instead of a credential, and understands as "leave it as it is".
_STORED = "redacted"
_FILE = click.Path(dir_okay=False, path_type=Path)


async def see(client: Client) -> SeeProjectResponse:
    with of_settings():
        return await client.call(client.program.SeeProject, SeeProjectRequest())


@click.command()
@view_options
@with_client
async def get(client: Client, *, output: Output) -> None:
    """Show the project: description, static admin and single sign-on."""
    await show(client.clock, lambda: see(client), _view, output)


def _view(response: SeeProjectResponse) -> View:
    project = response.project
    admin = "disabled" if project.static_admin_disabled else project.static_admin.username
    pairs = [
        ("Project", project.id),
        ("Description", project.desc),
        ("Static admin", admin),
        ("Single sign-on", response.sso_title or "none"),
        ("Shared configuration", project.shared_sso_name),
        ("Redirect URL", response.sso_callback_url),
        ("Users without a group", "Viewer" if project.allow_stray_as_viewer else "cannot sign in"),
        ("Roles", ", ".join(role.name for role in project.rbac_roles)),
        ("User groups", str(len(project.user_groups))),
    ]
    return View(parts=[fields(pairs)], notes=notes_of(response))


def notes_of(response: SeeProjectResponse) -> Sequence[str]:
    """What a view of the project's settings says below them."""
    read_only = "The control plane's configuration file defines the project: change it there."
    return [read_only] if response.read_only else []


@click.command()
@click.option("--description", help="New description.")
@click.option(
    "--allow-stray-as-viewer/--no-allow-stray-as-viewer",
    default=None,
    help="Whether users without a group that has a role are viewers.",
)
@with_client
async def update(client: Client, *, description: str | None, allow_stray_as_viewer: bool | None) -> None:
    """Change the description, or who may sign in without a group."""
    if description is None and allow_stray_as_viewer is None:
        raise click.UsageError("nothing to change: use --description or --allow-stray-as-viewer")
    if description is None:
        description = (await see(client)).project.desc
    request = UpdateProjectRequest(description=description, allow_stray_as_viewer=allow_stray_as_viewer)
    with of_settings():
        await client.call(client.program.UpdateProject, request)
    echo("Changed the project.")


@click.command("set")
@click.option("--username", required=True, help="User name.")
@click.option("--password-file", required=True, type=_FILE, help="File that contains the password.")
@with_client
async def set_static_admin(client: Client, *, username: str, password_file: Path) -> None:
    """Set the user name and the password of the static admin. Its sessions end."""
    request = UpdateProjectStaticAdminRequest(
        username=username, password=_read(password_file, "--password-file")
    )
    with of_settings():
        await client.call(client.program.UpdateProjectStaticAdmin, request)
    echo(f"Changed the static admin; sign in as {username}.")


@click.command("enable")
@with_client
async def enable_static_admin(client: Client) -> None:
    """Enable the static admin: it can sign in."""
    with of_settings():
        await client.call(client.program.EnableStaticAdmin, EnableStaticAdminRequest())
    echo("Enabled the static admin.")


@click.command("disable")
@with_client
async def disable_static_admin(client: Client) -> None:
    """Disable the static admin. Its sessions end."""
    with of_settings():
        await client.call(client.program.DisableStaticAdmin, DisableStaticAdminRequest())
    echo("Disabled the static admin.")


@click.command("set")
@click.option(
    "--provider", required=True, type=click.Choice(["oidc", "github"]), help="The kind of provider."
)
@click.option("--client-id", help="Id of the client at the provider; without it, the stored one.")
@click.option(
    "--client-secret-file", type=_FILE, help="File that contains its secret; without it, the stored one."
)
@click.option("--issuer", default="", help="URL of the OpenID Connect provider.")
@click.option("--github-url", default="", help="URL of GitHub Enterprise Server; without it, github.com.")
@click.option("--roles-claim", default="", help="Claim with the groups (OpenID Connect).")
@click.option("--username-claim", default="", help="Claim with the user name (OpenID Connect).")
@click.option("--scope", multiple=True, help="Scopes to request (OpenID Connect).")
@click.option("--session-hours", default=0, type=click.IntRange(0, 720), help="How long sessions last.")
@click.option("--proxy-url", default="", help="URL of an HTTP proxy for calls to the provider.")
@click.option("--test/--no-test", default=True, help="Test the provider before it is stored.")
@with_client
async def set_sso(
    client: Client,
    *,
    provider: str,
    client_id: str | None,
    client_secret_file: Path | None,
    issuer: str,
    github_url: str,
    roles_claim: str,
    username_claim: str,
    scope: tuple[str, ...],
    session_hours: int,
    proxy_url: str,
    test: bool,
) -> None:
    """Set the provider of single sign-on. Sessions of users of the earlier one end."""
    sso = ProjectSSOConfig(session_ttl=session_hours)
    id = client_id or _STORED
    secret = _read(client_secret_file, "--client-secret-file") if client_secret_file else _STORED
    if provider == "github":
        sso.provider = ProjectSSOConfig.GITHUB
        sso.github.MergeFrom(
            ProjectSSOConfig.GitHub(
                client_id=id, client_secret=secret, base_url=github_url, proxy_url=proxy_url
            )
        )
    else:
        if not issuer:
            raise click.UsageError("--provider oidc needs --issuer")
        sso.provider = ProjectSSOConfig.OIDC
        sso.oidc.MergeFrom(
            ProjectSSOConfig.Oidc(
                client_id=id,
                client_secret=secret,
                issuer=issuer,
                proxy_url=proxy_url,
                scopes=parse_list(scope),
                roles_claim_key=roles_claim,
                username_claim_key=username_claim,
            )
        )
    with of_settings():
        if test:
            tested = await client.call(client.program.VerifySSO, VerifySSORequest(sso=sso))
            if tested.problem:
                raise ConfigError(tested.problem, remedy="correct it, or store it anyway with --no-test")
        await client.call(client.program.UpdateProjectSSOConfig, UpdateProjectSSOConfigRequest(sso=sso))
    echo("Changed the single sign-on of the project.")


@click.command("remove")
@with_client
async def remove_sso(client: Client) -> None:
    """Remove the project's provider of single sign-on. Its users' sessions end."""
    with of_settings():
        await client.call(client.program.RemoveSSO, RemoveSSORequest())
    echo("Removed the single sign-on of the project.")


def _read(file: Path, flag: str) -> str:
    """The content of a file, without line breaks at its ends. Raises ConfigError."""
    text = read_named_file(file, flag, strip="\r\n")
    if not text:
        raise ConfigError(f"{flag}: {file} is empty")
    return text

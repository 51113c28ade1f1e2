"""Projects of the database: `pipecd projects`, their settings, and credentials of sign-in providers."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from pipecd.controlplane import projects_cli
from pipecd.controlplane.auth.sso.providers import decrypt
from pipecd.controlplane.rpc.table import PROGRAM
from pipecd.controlplane.settings import AuthSettings, Settings
from pipecd.controlplane.store import tables
from pipecd.controlplane.store.secret_fields import REDACTED
from pipecd.errors import NotFound, PipecdError
from pipecd.model.access import ADMIN
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.project_pb2 import Project, ProjectSSOConfig
from tests.controlplane.server_fixture import (
    ENCRYPTION_KEY,
    PROJECT,
    CallFailed,
    Console,
    ControlPlane,
    control_plane,
)
from tests.controlplane.writing_calls import WRITES
from tests.raw_grpc import unary


def run(folder: Path, *arguments: str) -> str:
    """The output of `pipecd projects`. Raises what the command raises."""
    file = folder / "control-plane.yaml"
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "ControlPlane",
        "spec": {
            "datastore": {"type": "SQLITE", "config": {"path": str(folder / "pipecd.db")}},
            "projects": [{"id": PROJECT, "desc": "The shop"}],
        },
    }
    file.write_text(json.dumps(document))
    command, *rest = arguments
    result = CliRunner().invoke(
        projects_cli.command, [command, f"--config-file={file}", *rest], catch_exceptions=True
    )
    if result.exception is not None:
        raise result.exception
    return result.output


async def signed_in(plane: ControlPlane, project: str, user: str, password: str) -> Console:
    console = Console(plane.url)
    await console.sign_in(project, user, password)
    return console


async def test_a_project_is_added_while_the_server_runs_and_changed_in_the_console(tmp_path: Path) -> None:
    # The server does not use a cached project after the command has changed it.
    settings = Settings(auth=AuthSettings(credential_max_age=0.0))
    async with control_plane(tmp_path, settings=settings) as plane:

        async def projects(*arguments: str) -> str:
            return await asyncio.to_thread(run, tmp_path, *arguments)

        added = await projects("add", "--id=team-a", "--desc=Team A", "--username=boss")
        password = added.splitlines()[-1].removeprefix("Password: ")
        assert len(password) == 30 and "boss" in added
        listed = await projects("list")
        assert listed.splitlines() == ["shop\tconfiguration\tThe shop", "team-a\tdatabase\tTeam A"]
        for arguments, message in (
            (("add", "--id=team-a"), "already exists"),
            (("add", f"--id={PROJECT}"), "is defined in"),
            (("add", "--id=../x"), "not a project id"),
            (("reset-password", "--id=missing"), "does not exist"),
        ):
            with pytest.raises(PipecdError, match=message):
                await projects(*arguments)
        boss = await signed_in(plane, "team-a", "boss", password)
        await change_settings(plane, boss)
        await boss.call("DisableStaticAdmin")
        with pytest.raises(CallFailed):
            await boss.call("SeeProject")
        reset = await projects("reset-password", "--id=team-a")
        await (
            await signed_in(plane, "team-a", "boss", reset.splitlines()[-1].removeprefix("Password: "))
        ).call("SeeProject")
        services = plane.server.services
        rows = await services.store.database.rows(
            sa.select(tables.audit).where(tables.audit.c.project_id == "team-a").order_by(tables.audit.c.seq)
        )
        assert (rows[0].actor_kind, rows[0].action) == ("operator", "add-project")
        assert password not in str([tuple(row) for row in rows]) and "client-1" not in str(rows)


async def change_settings(plane: ControlPlane, boss: Console) -> None:
    """Every setting of the project, and what the answers show of it."""
    await boss.call("UpdateProject", description="The A team")
    with pytest.raises(CallFailed, match="fewer than 8 characters"):
        await boss.call("UpdateProjectStaticAdmin", username="boss", password="1234567")
    policy = ProjectRBACPolicy(
        resources=[ProjectRBACResource(type=ProjectRBACResource.AUDIT_LOG)], actions=[ProjectRBACPolicy.LIST]
    )
    with pytest.raises(CallFailed, match="up to 63 letters"):
        await boss.call("AddProjectRBACRole", name="x" * 64, policies=[policy])
    await boss.call("AddProjectRBACRole", name="Auditor", policies=[policy])
    await boss.call("AddProjectUserGroup", sso_group="org/audit", role="Auditor")
    with pytest.raises(CallFailed, match="assigned to a user group"):
        await boss.call("DeleteProjectRBACRole", name="Auditor")
    github: dict[str, Any] = {"client_id": "client-1", "client_secret": "of-github"}
    await boss.call(
        "UpdateProjectSSOConfig",
        sso=ProjectSSOConfig(session_ttl=1, github=ProjectSSOConfig.GitHub(**github)),
    )
    seen = await boss.call("SeeProject")
    assert (seen.project.desc, seen.read_only) == ("The A team", False)
    assert [group.role for group in seen.project.user_groups] == ["Auditor"]
    assert ADMIN in [role.name for role in seen.project.rbac_roles]
    assert (seen.project.sso.github.client_id, seen.project.sso.github.client_secret) == (REDACTED, REDACTED)

    async def stored(field: str) -> str:
        project = (await plane.server.services.store.get(Project, "team-a")).message
        assert "of-github" not in str(project)
        return decrypt(str(getattr(project.sso.github, field)), ENCRYPTION_KEY)

    assert (await stored("client_id"), await stored("client_secret")) == ("client-1", "of-github")
    # What the console received is sent back unchanged: it stays.
    again = {**github, "client_secret": REDACTED, "client_id": "client-2", "base_url": "https://git.example"}
    await boss.call(
        "UpdateProjectSSOConfig", sso=ProjectSSOConfig(session_ttl=1, github=ProjectSSOConfig.GitHub(**again))
    )
    assert (await stored("client_id"), await stored("client_secret")) == ("client-2", "of-github")
    oidc = {"client_id": "c", "client_secret": "s"}
    for sso, message in (
        (ProjectSSOConfig(session_ttl=1, provider=ProjectSSOConfig.GOOGLE), "provider is not supported"),
        (ProjectSSOConfig(session_ttl=1, provider=ProjectSSOConfig.OIDC), "required"),
        (
            ProjectSSOConfig(
                session_ttl=1, github=ProjectSSOConfig.GitHub(**github | {"base_url": "http://git.example"})
            ),
            "https",
        ),
        (
            ProjectSSOConfig(
                session_ttl=1, provider=ProjectSSOConfig.OIDC, oidc=ProjectSSOConfig.Oidc(**oidc)
            ),
            "issuer is required",
        ),
        (
            ProjectSSOConfig(
                session_ttl=1,
                provider=ProjectSSOConfig.OIDC,
                oidc=ProjectSSOConfig.Oidc(
                    **oidc | {"issuer": "https://id.example", "client_secret": REDACTED}
                ),
            ),
            "secret are required",
        ),
    ):
        with pytest.raises(CallFailed, match=message):
            await boss.call("UpdateProjectSSOConfig", sso=sso)
    configured = plane.console
    assert (await configured.call("SeeProject")).read_only
    with pytest.raises(CallFailed, match="configuration file"):
        await configured.call("UpdateProject", description="no")


async def test_no_call_changes_a_project_of_the_configuration_file(tmp_path: Path) -> None:
    calls = [
        (call, write.fields)
        for call, write in WRITES.items()
        if write.kind == "project" and call.startswith(("WebService/", "ConsoleService/", "ProgramService/"))
    ]
    assert len(calls) >= 15 + 11
    refused = f"project {PROJECT} is defined in the control plane's configuration file; change it there"
    async with control_plane(tmp_path, with_jobs=False) as plane:
        before = (await plane.console.call("SeeProject")).project
        key = (await plane.console.call("GenerateAPIKey", name="admin", role=APIKey.ADMIN)).key
        async with aio.insecure_channel(plane.address) as channel:

            async def call(service: str, name: str, fields: Mapping[str, Any]) -> None:
                if service != PROGRAM.name:
                    await plane.console.call(name, **fields)
                    return
                request = GetMessageClass(PROGRAM.methods_by_name[name].input_type)(**fields)
                metadata = (("authorization", f"API-KEY {key}"),)
                path = f"/{PROGRAM.full_name}/{name}"
                await unary(channel, path)(request.SerializeToString(), metadata=metadata)

            for path, fields in calls:
                service, name = path.split("/")
                with pytest.raises((CallFailed, aio.AioRpcError)) as failed:
                    await call(service, name, fields)
                assert refused in str(failed.value), (service, name)
        assert (await plane.console.call("SeeProject")).project == before
        with pytest.raises(NotFound):
            await plane.server.services.store.get(Project, before.id)

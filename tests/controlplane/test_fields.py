"""An error about one field of a request names it, so that a form can show it at that field."""

import base64
from pathlib import Path
from typing import Any

import pytest

from pipecd.controlplane.rpc.status import to_status
from pipecd.controlplane.rpc.validation import validate
from pipecd.errors import PipecdError, Refused
from pipecd.schema.api import applications_pb2 as api_applications
from pipecd.schema.api import pipeds_pb2 as api_pipeds
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.project_pb2 import Project, ProjectSSOConfig, ProjectStaticUser
from pipecd.schema.pipecd.v1.errors_pb2 import FieldViolation
from pipecd.schema.pipecd.v1.notifications_pb2 import (
    EmailReceiver,
    ProjectReceiver,
    SlackReceiver,
    WebhookReceiver,
)
from pipecd.schema.web import pipeds_pb2 as web_pipeds
from pipecd.schema.web.api_keys_pb2 import GenerateAPIKeyRequest
from pipecd.schema.web.applications_pb2 import AddApplicationRequest, UpdateApplicationRequest
from pipecd.schema.web.project_pb2 import AddProjectRBACRoleRequest
from tests.actors import TESTER
from tests.controlplane.server_fixture import (
    PASSWORD,
    PASSWORD_HASH,
    USER,
    CallFailed,
    Console,
    control_plane,
)

TEAM = "team"
NO_NAME = AddApplicationRequest(piped_id="p")
NO_REPOSITORY = AddApplicationRequest(
    name="a", piped_id="p", git_path=ApplicationGitPath(repo=ApplicationGitRepository(), path="apps/a")
)
NO_RESOURCES = AddProjectRBACRoleRequest(
    name="r", policies=[ProjectRBACPolicy(actions=[ProjectRBACPolicy.GET])]
)
LONG_NAME = "n" * 257
LONG_KEY = AddApplicationRequest(
    name="a",
    piped_id="p",
    git_path=ApplicationGitPath(repo=ApplicationGitRepository(id="r"), path="apps/a"),
    labels={"k" * 5000: ""},
)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (NO_NAME, "name"),
        (NO_REPOSITORY, "git_path.repo.id"),
        (NO_RESOURCES, "policies[0].resources"),
        (LONG_KEY, "labels"),
        (web_pipeds.RegisterPipedRequest(name=LONG_NAME), "name"),
        (web_pipeds.UpdatePipedRequest(piped_id="p", name=LONG_NAME), "name"),
        (api_pipeds.RegisterPipedRequest(name=LONG_NAME), "name"),
        (api_pipeds.UpdatePipedRequest(piped_id="p", name=LONG_NAME), "name"),
        (AddApplicationRequest(name=LONG_NAME), "name"),
        (UpdateApplicationRequest(application_id="a", name=LONG_NAME), "name"),
        (api_applications.AddApplicationRequest(name=LONG_NAME), "name"),
        (GenerateAPIKeyRequest(name=LONG_NAME), "name"),
        (AddProjectRBACRoleRequest(name=LONG_NAME), "name"),
    ],
)
def test_a_violated_rule_names_its_field(request_: Any, field: str) -> None:
    with pytest.raises(Refused) as raised:
        validate(request_)
    assert raised.value.field == to_status(raised.value, "/a.B/C").field == field


def test_an_error_about_no_field_names_none() -> None:
    assert to_status(PipecdError("no"), "/a.B/C").field == ""


def role(name: str) -> dict[str, Any]:
    resource = {"type": 1}
    return {"name": name, "policies": [{"resources": [resource], "actions": [ProjectRBACPolicy.GET]}]}


def receiver(**part: Any) -> dict[str, Any]:
    return {"receiver": ProjectReceiver(name="r", **part)}


def oidc(**fields: str) -> dict[str, Any]:
    client = {"client_id": "id", "client_secret": "secret", "issuer": "https://a.example"} | fields
    return {"sso": ProjectSSOConfig(provider=ProjectSSOConfig.OIDC, oidc=ProjectSSOConfig.Oidc(**client))}


MAIL: dict[str, Any] = {"host": "h", "from": "a@example.com", "to": ["b@example.com"]}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("RegisterPiped", {"name": ""}, "name"),
    ("RegisterPiped", {"name": "n" * 5000}, "name"),
    ("GenerateAPIKey", {"name": "n" * 5000}, "name"),
    ("UpdateProjectStaticAdmin", {"username": "u", "password": "short"}, "password"),
    ("AddProjectRBACRole", role("Admin"), "name"),
    ("AddProjectRBACRole", role("no blanks"), "name"),
    ("AddProjectUserGroup", {"sso_group": "ops", "role": "Viewer"}, "sso_group"),
    ("AddProjectUserGroup", {"sso_group": "other", "role": "Missing"}, "role"),
    ("UpdateProjectSSOConfig", oidc(issuer=""), "sso.oidc.issuer"),
    ("UpdateProjectSSOConfig", oidc(issuer="http://a.example"), "sso.oidc.issuer"),
    ("UpdateProjectSSOConfig", oidc(proxy_url="a b"), "sso.oidc.proxy_url"),
    ("UpdateProjectSSOConfig", oidc(client_secret=""), "sso.oidc.client_secret"),
    ("AddProjectReceiver", receiver(webhook=WebhookReceiver(url="ftp://a")), "receiver.webhook.url"),
    (
        "AddProjectReceiver",
        receiver(webhook=WebhookReceiver(url="https://a", signing_key="x")),
        "receiver.webhook.signing_key",
    ),
    ("AddProjectReceiver", receiver(slack=SlackReceiver(hook_url="x")), "receiver.slack.hook_url"),
    (
        "AddProjectReceiver",
        receiver(slack=SlackReceiver(hook_url="https://a", oauth_token="t", channel_id="c")),
        "receiver.slack.oauth_token",
    ),
    ("AddProjectReceiver", receiver(email=EmailReceiver(**MAIL | {"to": ["x"]})), "receiver.email.to"),
    ("AddProjectReceiver", receiver(email=EmailReceiver(**MAIL | {"from": "x"})), "receiver.email.from"),
    ("AddProjectReceiver", receiver(email=EmailReceiver(**MAIL, port=70_000)), "receiver.email.port"),
    ("UpdatePipedDesiredVersion", {"version": "vx", "piped_ids": ["p"]}, "version"),
]


async def test_the_console_learns_which_field_is_wrong(tmp_path: Path) -> None:
    async with control_plane(tmp_path) as plane:
        admin = ProjectStaticUser(username=USER, password_hash=PASSWORD_HASH)
        await plane.server.services.store.create(Project(id=TEAM, static_admin=admin), by=TESTER)
        console = Console(plane.url)
        async with console.http:
            await console.sign_in(TEAM, USER, PASSWORD)
            await console.call("AddProjectUserGroup", sso_group="ops", role="Viewer")
            found = [(method, await wrong_field(console, method, fields)) for method, fields, _ in WRONG]
    assert found == [(method, field) for method, _, field in WRONG]


async def wrong_field(console: Console, method: str, fields: dict[str, Any]) -> str:
    with pytest.raises(CallFailed) as raised:
        await console.call(method, **fields)
    (detail,) = raised.value.details
    assert detail["type"] == "pipecd.v1.FieldViolation"
    return FieldViolation.FromString(base64.b64decode(detail["value"] + "==")).field

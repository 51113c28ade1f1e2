"""Commands of `pipectl` that change a project of the database: settings, roles, keys, sessions, agents."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.controlplane.auth.keys import hash_key, new_api_key
from pipecd.controlplane.auth.sessions import Session
from pipecd.errors import ConfigError
from pipecd.model.policy_text import format_policy, parse_policies
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from pipecd.wire import policy_from, policy_to
from tests.actors import TESTER
from tests.controlplane.server_fixture import PASSWORD_HASH, USER, ControlPlane
from tests.controlplane.sign_in_provider import CLIENT_ID, CLIENT_SECRET, sign_in_provider
from tests.pipectl.pipectl_process import Pipectl

TEAM = "team"


@pytest.fixture
async def administrator(plane: ControlPlane, pipectl: Pipectl) -> Pipectl:
    """With a key of the role ADMIN of a project of the database."""
    store = plane.server.services.store
    project = Project(id=TEAM, desc="Payments", created_at=1, updated_at=1)
    project.static_admin.username, project.static_admin.password_hash = USER, PASSWORD_HASH
    key_id, key = new_api_key()
    record = APIKey(id=key_id, name="admin", project_id=TEAM, key_hash=hash_key(key), role=APIKey.ADMIN)
    await store.create(project, record, by=TESTER)
    pipectl.key_file.write_text(key)
    return pipectl


async def test_roles_groups_and_keys_are_managed(administrator: Pipectl, plane: ControlPlane) -> None:
    run = administrator
    policy = "resources=application{env:dev},deployment{env:dev};actions=get,list"
    assert (await run("role", "add", "--name=Dev", f"--policy={policy}")).code == 0
    wrong = await run("role", "update", "--name=Dev", "--policy=resources=app;actions=get")
    assert wrong.code == 1 and "'app' is not a resource; use one of *, application" in wrong.err
    rows = [line.split() for line in (await run("role", "list")).out.splitlines()]
    assert ["Dev", "custom", policy] in rows and ["Admin", "built-in", "resources=*;actions=*"] in rows
    assert (await run("user-group", "add", "--group=org/dev", "--role=Dev")).code == 0
    refused = await run("role", "delete", "--name=Dev")
    assert refused.code == 1 and "assigned to a user group" in refused.err
    groups = (await run("user-group", "list", "-o", "json")).json
    assert [(group["sso_group"], group["role"]) for group in groups["project"]["user_groups"]] == [
        ("org/dev", "Dev")
    ]
    assert (await run("user-group", "delete", "--group=org/dev")).code == 0
    assert (await run("role", "delete", "--name=Dev")).code == 0
    listed = await run("audit", "list", "--kind=project", "--actor=admin")
    assert [" ".join(line.split()[3:]) for line in listed.out.splitlines()[1:]] == [
        "deleted the role Dev",
        "deleted the user group org/dev",
        "gave the role Dev to the user group org/dev",
        "added the role Dev",
    ]

    created = await run("api-key", "create", "--name=ci", "--role=read-write", "--valid-for=720h")
    key = created.out.strip()
    assert created.code == 0 and "cannot be shown again" in created.err
    key_id = key.partition(".")[0]
    keys = await run("api-key", "list")
    (line,) = [line for line in keys.out.splitlines() if line.startswith(key_id)]
    assert line.split()[1:5] == ["ci", "READ_WRITE", "ENABLED", "never"]
    assert line.rstrip().endswith(("in 29 d", "in 30 d"))
    assert key.partition(".")[2] not in keys.out
    assert (await run("api-key", "disable", f"--id={key_id}")).code == 0
    stored = (await plane.server.services.store.get(APIKey, key_id)).message
    assert (stored.disabled, stored.creator) == (True, "admin")


async def test_the_project_its_sign_in_and_its_sessions_are_managed(
    administrator: Pipectl, plane: ControlPlane, tmp_path: Path
) -> None:
    run, services = administrator, plane.server.services
    for name in ("ann", "bob"):
        await services.sessions.start(Session(project_id=TEAM, username=name, roles=("Viewer",)), by=TESTER)
    sessions = await run("session", "list")
    assert {line.split()[1] for line in sessions.out.splitlines()[1:]} == {"ann", "bob"}
    assert (await run("session", "end")).code == 2
    assert "Ended 1 session." in (await run("session", "end", "--username=ann")).out
    assert (await run("project", "update", "--allow-stray-as-viewer")).code == 0
    secret = tmp_path / "secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    async with sign_in_provider() as provider:
        arguments = ["project", "sso", "set", "--provider=oidc", f"--issuer={provider.url}"]
        wrong = await run(*arguments, "--client-id=other", f"--client-secret-file={secret}")
        assert wrong.code == 1 and "does not accept the client's id and secret" in wrong.err
        client = [f"--client-id={CLIENT_ID}", f"--client-secret-file={secret}"]
        assert (await run(*arguments, *client)).code == 0
        # The stored client is used again.
        assert (await run(*arguments, "--session-hours=8")).code == 0
    shown = await run("project", "get")
    assert shown.code == 0 and CLIENT_SECRET not in shown.out
    for value in ("Payments", USER, "127.0.0.1", "Viewer"):
        assert value in shown.out
    assert (await run("project", "sso", "remove")).code == 0
    set_admin = ("project", "static-admin", "set", "--username=root", f"--password-file={secret}")
    assert (await run(*set_admin)).code == 0
    assert (await run("project", "static-admin", "disable")).code == 0
    project = (await services.store.get(Project, TEAM)).message
    assert (project.desc, project.static_admin.username) == ("Payments", "root")
    assert project.static_admin_disabled and project.allow_stray_as_viewer and not project.HasField("sso")


async def test_agents_are_registered_changed_and_get_another_key(
    administrator: Pipectl, plane: ControlPlane
) -> None:
    run, store = administrator, plane.server.services.store
    registered = await run(
        "piped", "register", "--name=home", "--description=In the cellar", "--valid-for=24h"
    )
    assert registered.code == 0, registered.err
    piped_id, key = registered.out.split()

    async def stored() -> Piped:
        return (await store.get(Piped, piped_id)).message

    piped = await stored()
    assert (piped.name, piped.desc, piped.project_id) == ("home", "In the cellar", TEAM)
    assert piped.keys[0].expires_at - piped.created_at == 24 * 3600 and key not in str(piped)
    assert "cannot be shown again" in registered.err
    assert (await run("piped", "update", "--piped-id=home", "--name=garage")).code == 0
    assert ((await stored()).name, (await stored()).desc) == ("garage", "In the cellar")
    added = await run("piped", "add-key", "--piped-id=garage")
    assert added.code == 0 and added.out.strip() != key and len((await stored()).keys) == 2
    assert (await run("piped", "delete-old-keys", "--piped-id=garage")).code == 0
    (left,) = (await stored()).keys
    assert left.hash != piped.keys[0].hash
    assert (await run("piped", "upgrade", "--piped-id=garage", "--version=v9.9.9")).code == 0
    assert (await stored()).desired_version == "v9.9.9"
    assert (await run("piped", "restart", "--piped-id=garage")).code == 0
    for arguments, problem in (
        (("update", "--piped-id=garage"), "nothing to change"),
        (("register", "--name= "), "must not be empty"),
        (("register", "--name=x", "--valid-for=soon"), "is not a duration"),
        (("upgrade", "--piped-id=garage", "--version=latest"), "version does not start with"),
        (("add-key", "--piped-id=missing"), "missing"),
    ):
        refused = await run("piped", *arguments)
        assert refused.code != 0 and problem in refused.err, refused.err


async def test_what_may_not_be_changed_is_refused(plane: ControlPlane, pipectl: Pipectl) -> None:
    refused = await pipectl("piped", "restart", "--piped-id=home")
    assert refused.code == 1
    refused = await pipectl("role", "list")
    assert refused.code == 1 and "needs the role ADMIN to view the project; ask an admin" in refused.err
    response = await plane.console.call("GenerateAPIKey", name="admin", role=APIKey.ADMIN)
    pipectl.key_file.write_text(response.key)
    shown = await pipectl("project", "get")
    assert "configuration file defines the project" in shown.err
    for shown in (await pipectl("role", "list"), await pipectl("user-group", "list")):
        assert shown.code == 0 and "configuration file defines the project" in shown.err
    policy = "--policy=resources=*;actions=get"
    for change in (
        ("project", "update", "--description=other"),
        ("role", "add", "--name=reader", policy),
        ("user-group", "add", "--group=readers", "--role=Viewer"),
    ):
        refused = await pipectl(*change)
        assert refused.code == 1 and "change it there" in refused.err


_NAMES = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=5)
_RESOURCES = st.tuples(
    st.sampled_from(ProjectRBACResource.ResourceType.values()),
    st.dictionaries(_NAMES, _NAMES, max_size=2),
)


@given(
    st.lists(_RESOURCES, min_size=1, max_size=3),
    st.lists(st.sampled_from(ProjectRBACPolicy.Action.values()), min_size=1, max_size=3),
)
def test_a_policy_is_read_as_it_is_written(
    resources: list[tuple[ProjectRBACResource.ResourceType.ValueType, dict[str, str]]],
    actions: list[ProjectRBACPolicy.Action.ValueType],
) -> None:
    policy = ProjectRBACPolicy(
        resources=[ProjectRBACResource(type=type_, labels=labels) for type_, labels in resources],
        actions=actions,
    )
    (parsed,) = parse_policies([format_policy(policy_from(policy))])
    assert policy_to(parsed) == policy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("application:get", "is not written as resources"),
        ("resources=application;actions=read", "'read' is not an action"),
        ("resources=application{env};actions=get", "'env' is not a label"),
        ("resources=application{env:};actions=get", "is not a label"),
        ("resources=application{env:dev;actions=get", "is not a resource"),
        ("resources=,;actions=get", "has no resource"),
    ],
)
def test_a_wrong_policy_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_policies([text])

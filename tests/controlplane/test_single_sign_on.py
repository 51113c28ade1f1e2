"""Users sign in by OpenID Connect or GitHub, with the roles of their groups, and faults have a sentence."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config import controlplane as config
from pipecd.controlplane.auth.sessions import Session
from pipecd.controlplane.auth.sso import providers
from pipecd.controlplane.auth.sso.flow import LIFETIME
from pipecd.controlplane.auth.sso.oidc import identity_of
from pipecd.controlplane.auth.sso.requests import open_requests
from pipecd.controlplane.auth.sso.roles import matching_groups, roles_of
from pipecd.controlplane.http import login
from pipecd.controlplane.settings import AuthSettings, Settings
from pipecd.controlplane.store.secret_fields import REDACTED
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.model.access import ADMIN, VIEWER, Action, Resource
from pipecd.model.policy_text import format_policy
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.project_pb2 import Project, ProjectSSOConfig
from pipecd.wire import policy_from
from tests.actors import TESTER
from tests.controlplane.server_fixture import (
    ENCRYPTION_KEY,
    PASSWORD_HASH,
    USER,
    CallFailed,
    Console,
    ControlPlane,
    control_plane,
)
from tests.controlplane.sign_in_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    SignInProvider,
    query_of,
    sign_in_provider,
    signing_key,
)
from tests.skippable_clock import SkippableClock

STORED, FILE, GITHUB = "stored", "file", "teams"


@pytest.fixture
async def provider() -> AsyncIterator[SignInProvider]:
    async with sign_in_provider() as running:
        yield running


@pytest.fixture
def clock() -> SkippableClock:
    return SkippableClock()


@pytest.fixture
async def plane(
    tmp_path: Path, provider: SignInProvider, clock: SkippableClock
) -> AsyncIterator[ControlPlane]:
    client = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET}
    shared = [
        {"name": "company", "provider": "OIDC", "sessionTtl": 8, "oidc": {**client, "issuer": provider.url}},
        {"name": "code", "provider": "GITHUB", "github": {**client, "baseUrl": provider.url}},
    ]
    projects = [
        {"id": "shop", "staticAdmin": {"username": USER, "passwordHash": PASSWORD_HASH}},
        {
            "id": FILE,
            "sharedSSOName": "company",
            "userGroups": [
                {"ssoGroup": "operators", "role": "Editor"},
                {"ssoGroup": "developers", "role": "Developer"},
            ],
            "roles": [
                {
                    "name": "Developer",
                    "policies": [
                        "resources=application{env:dev};actions=list",
                        "resources=project;actions=get\n\nresources=piped;actions=list",
                    ],
                }
            ],
        },
        {
            "id": GITHUB,
            "sharedSSOName": "code",
            "userGroups": [
                {"ssoGroup": "Acme/platform", "role": "Admin"},
                {"ssoGroup": "acme/*", "role": "Viewer"},
            ],
        },
    ]
    # Nothing is cached, so that each fault has its effect.
    settings = Settings(auth=AuthSettings(provider_max_age=0.0))
    async with control_plane(
        tmp_path, clock=clock, sharedSSOConfigs=shared, projects=projects, settings=settings
    ) as running:
        project = Project(id=STORED, created_at=1, updated_at=1)
        project.static_admin.username, project.static_admin.password_hash = USER, PASSWORD_HASH
        sso = ProjectSSOConfig(provider=ProjectSSOConfig.OIDC, session_ttl=1)
        sso.oidc.client_id, sso.oidc.client_secret = CLIENT_ID, CLIENT_SECRET
        sso.oidc.issuer, sso.oidc.roles_claim_key = provider.url, "access.groups"
        project.sso.CopyFrom(running.server.services.projects.encrypt_client(sso))
        project.user_groups.add(sso_group="shops", role="shops-only")
        resource = ProjectRBACResource(type=ProjectRBACResource.APPLICATION, labels={"team": "shop"})
        policy = ProjectRBACPolicy(resources=[resource], actions=[ProjectRBACPolicy.ALL])
        project.rbac_roles.append(ProjectRBACRole(name="shops-only", policies=[policy]))
        await running.server.services.store.create(project, by=TESTER)
        yield running


@asynccontextmanager
async def browser(plane: ControlPlane) -> AsyncIterator[Console]:
    console = Console(plane.url)
    async with console.http:
        yield console


def login_page(path: str) -> str:
    """Where a sign-in that failed is explained, also to a browser that has a session of another tab."""
    return "/login" if path == "/" else f"/login?next={quote(path, safe='')}"


async def go_to_provider(console: Console, project: str, path: str = "/") -> str:
    """Begin a sign-in and confirm it at the provider. Returns the URL that it sends the browser to."""
    begun = await console.http.get(f"{console.base}/auth/login", params={"project": project, "next": path})
    assert begun.status_code == 303, begun.headers
    if not begun.headers["location"].startswith("http://127"):
        assert begun.headers["location"] == login_page(path)
        return ""
    arrived = await console.http.get(begun.headers["location"])
    back = arrived.headers["location"]
    # The console's configured address has no server in the tests.
    assert back.startswith("http://console.example/auth/callback?")
    return back.replace("http://console.example", console.base)


async def sign_in(console: Console, project: str, path: str = "/") -> str:
    """Sign in by the project's provider. Returns the error, or an empty string."""
    if back := await go_to_provider(console, project, path):
        response = await console.http.get(back)
        if response.status_code == 302:
            assert response.headers["location"] == path
            return ""
        assert response.headers["location"] == login_page(path)
    return error_of(console)


def error_of(console: Console) -> str:
    error = unquote(console.http.cookies.get("error") or "")
    assert error
    return error


async def may(console: Console, method: str, **fields: Any) -> bool:
    try:
        await console.call(method, **fields)
    except CallFailed as error:
        assert error.code == "permission_denied", error
        return False
    return True


async def test_openid_connect_gives_the_roles_of_groups(
    plane: ControlPlane, provider: SignInProvider
) -> None:
    provider.user_info = {"groups": ["operators", "others"], "picture": "https://example.com/ada.png"}
    async with browser(plane) as console:
        assert await sign_in(console, FILE, "/deployments?status=FAILURE") == ""
        me = await console.call("GetMe")
        assert (me.subject, me.project_id, me.avatar_url) == ("ada", FILE, "https://example.com/ada.png")
        assert await may(console, "ListApplications")
        assert not await may(console, "ListAPIKeys"), "an Editor has no right to it"
        cookie = next(cookie for cookie in console.http.cookies.jar if cookie.name == "token")
        assert cookie.expires is not None
        provider.reset()
    async with browser(plane) as console:
        problem = await sign_in(console, FILE)
        assert "The user ada is in none of the project's user groups; neither the ID token" in problem
        assert "has a claim groups, roles, cognito:groups, custom:roles or custom:groups." in problem
        assert problem.endswith("many providers do if `scopes` has the scope `groups`.")
        provider.claims["groups"] = ["others"]
        assert "127.0.0.1 sent these groups: others." in await sign_in(console, FILE)
        del provider.claims["groups"]
        provider.claims["roles"] = "Admin"
        assert await sign_in(console, FILE) == "", "a built-in role as the value of the claim"
        assert await may(console, "ListAPIKeys")


async def test_a_project_of_the_file_has_custom_roles(plane: ControlPlane, provider: SignInProvider) -> None:
    store = plane.server.services.store
    for name in ("dev", "prod"):
        application = Application(id=name, name=name, project_id=FILE, labels={"env": name})
        await store.create(application, by=TESTER)
    provider.user_info = {"groups": ["developers"]}
    async with browser(plane) as console:
        assert await sign_in(console, FILE) == ""
        listed = await console.call("ListApplications")
        assert [application.name for application in listed.applications] == ["dev"]
        assert await may(console, "ListPipeds") and not await may(console, "ListDeployments")
        seen = await console.call("SeeProject")
        assert seen.read_only
        (role,) = (role for role in seen.project.rbac_roles if not role.is_builtin)
        assert [format_policy(policy_from(policy)) for policy in role.policies] == [
            "resources=application{env:dev};actions=list",
            "resources=project;actions=get",
            "resources=piped;actions=list",
        ]
        provider.user_info = {"groups": ["operators"]}
        assert await sign_in(console, FILE) == ""
        assert len((await console.call("ListApplications")).applications) == 2


async def test_a_stored_project_has_its_own_provider_and_custom_roles(
    plane: ControlPlane, provider: SignInProvider
) -> None:
    """Its sessions follow later changes of groups, roles and provider."""
    provider.claims["access"] = {"groups": ["shops"]}
    services = plane.server.services
    stored = (await services.store.get(Project, STORED)).message
    assert CLIENT_SECRET not in str(stored), "it is encrypted"
    async with browser(plane) as console, browser(plane) as other:
        assert await sign_in(console, STORED) == ""
        assert await may(console, "ListApplications")
        assert not await may(console, "ListPipeds"), "the custom role has no right to it"
        shown = await console.http.get(f"{plane.url}/auth/provider", params={"project": STORED})
        assert shown.json() == {"title": "127.0.0.1", "kind": "OIDC"}

        def promote(project: Project) -> None:
            project.user_groups[0].role = "Viewer"

        await services.store.update(Project, STORED, promote, by=TESTER)
        assert await may(console, "ListPipeds"), "the group's new role counts at once"

        def remove(project: Project) -> None:
            del project.user_groups[:]

        assert await sign_in(other, STORED) == ""
        await services.store.update(Project, STORED, remove, by=TESTER)
        with pytest.raises(CallFailed, match="none of your groups has a role"):
            await console.call("GetMe")

        def change_provider(project: Project) -> None:
            project.user_groups.add(sso_group="shops", role="Viewer")
            project.sso.oidc.roles_claim_key = "groups"

        await services.store.update(Project, STORED, change_provider, by=TESTER)
        with pytest.raises(CallFailed, match="single sign-on of the project was changed"):
            await other.call("GetMe")


async def test_github_reads_all_pages_of_teams(plane: ControlPlane, provider: SignInProvider) -> None:
    provider.teams = ["other/a", "other/b", "other/c", "ACME/Platform"]
    async with browser(plane) as console:
        assert await sign_in(console, GITHUB) == ""
        assert (await console.call("GetMe")).subject == "ada"
        assert await may(console, "ListAPIKeys"), "the team on the second page is Admin"
    provider.teams, provider.organizations = [], ["x", "y", "Acme"]
    async with browser(plane) as console:
        assert await sign_in(console, GITHUB) == ""
        assert not await may(console, "ListAPIKeys"), "members of the organization are Viewers"
    provider.organizations = ["x"]
    async with browser(plane) as console:
        assert "x/*" in await sign_in(console, GITHUB)
        provider.replaced["/api/v3/user/orgs"] = JSONResponse(
            [], headers={"link": '<http://example.com/?page=2>; rel="next"'}
        )
        assert "on another host" in await sign_in(console, GITHUB)


Fault = Callable[[SignInProvider], None]


def forge(**claims: Any) -> Fault:
    return lambda provider: provider.forged.update(claims)


def replace(path: str, response: Any) -> Fault:
    return lambda provider: provider.replaced.update({path: response})


def sign_with_another_key(provider: SignInProvider) -> None:
    provider.key = signing_key(1)


def set_field(name: str, value: Any) -> Fault:
    return lambda provider: setattr(provider, name, value)


FAULTS: dict[str, tuple[Fault, str]] = {
    "wrong nonce": (forge(nonce="another"), "another sign-in"),
    "wrong issuer": (forge(iss="https://evil.example"), "invalid ID token"),
    "wrong audience": (forge(aud="another"), "invalid ID token"),
    "another client": (forge(aud=[CLIENT_ID, "x"], azp="x"), "another client"),
    "expired": (forge(exp=1_000_000), "expired"),
    "from the future": (forge(iat=9_000_000_000), "clocks"),
    "infinite time": (forge(exp="Infinity", iat="NaN"), "not a number"),
    "no subject": (forge(sub=None), "invalid ID token"),
    "no name": (lambda provider: provider.claims.pop("preferred_username"), "u1 is in none"),
    "unsigned": (set_field("algorithm", "none"), "not safe"),
    "signed by another key": (sign_with_another_key, "does not publish"),
    "another subject in the user info": (set_field("user_info", {"sub": "u2"}), "another user"),
    "too many groups": (forge(_claim_names={"groups": "src1"}), "more groups than"),
    "error of the token endpoint": (replace("/token", JSONResponse({"error": "x"}, 400)), "refused"),
    "error that is no text": (replace("/token", JSONResponse({"error": [{}]}, 400)), "refused"),
    "wrong secret": (replace("/token", JSONResponse({"error": "invalid_client"}, 401)), "id and secret"),
    "token endpoint down": (replace("/token", PlainTextResponse("", 503)), "HTTP 503"),
    "not JSON": (replace("/token", PlainTextResponse("<html>")), "not JSON"),
    "deeply nested": (replace("/token", PlainTextResponse("[" * 100_000)), "not JSON"),
    "a list": (replace("/token", JSONResponse([])), "refused a request"),
    "no token": (replace("/token", JSONResponse({})), "invalid ID token"),
    "huge response": (replace("/token", PlainTextResponse("x" * 2_000_000)), "more than"),
    "redirect": (replace("/token", RedirectResponse("https://evil.example")), "not JSON"),
    "no issuer beside the code": (
        set_field("metadata_changes", {"authorization_response_iss_parameter_supported": True}),
        "did not send its name",
    ),
    "no keys": (replace("/keys", JSONResponse({"keys": []})), "invalid ID token"),
    "malformed keys": (replace("/keys", JSONResponse({"keys": [{"kty": 1}]})), "invalid ID token"),
}


#: They concern what is read before the browser is sent to the provider.
EARLY_FAULTS: dict[str, tuple[Fault, str]] = {
    "no discovery": (
        replace("/.well-known/openid-configuration", JSONResponse({}, 404)),
        "(HTTP 404); correct `issuer`",
    ),
    "a page instead of discovery": (
        replace("/.well-known/openid-configuration", HTMLResponse("<html>", 404)),
        "(HTTP 404); correct `issuer`",
    ),
    "another issuer": (
        replace("/.well-known/openid-configuration", JSONResponse({"issuer": "https://evil.example"})),
        "calls itself",
    ),
}


@pytest.mark.parametrize("project", [FILE, GITHUB])
async def test_users_of_the_same_name_see_their_own_sessions(
    plane: ControlPlane, provider: SignInProvider, project: str
) -> None:
    provider.user_info, provider.teams = {"groups": ["operators"]}, ["Acme/platform"]
    async with browser(plane) as first, browser(plane) as second, browser(plane) as namesake:
        assert await sign_in(first, project) == ""
        assert await sign_in(second, project) == ""
        provider.claims["sub"], provider.user_id = "u2", 2
        assert await sign_in(namesake, project) == ""
        me, same, other = [await console.call("GetMe") for console in (first, second, namesake)]
        assert me.subject == other.subject == "ada"
        assert me.user_id == same.user_id != other.user_id
        own = (await first.call("ListOwnSessions")).sessions
        assert len(own) == 2
        (others,) = (await namesake.call("ListOwnSessions")).sessions
        assert others.id not in {session.id for session in own}
        assert (await first.call("EndOwnSessions", ids=[others.id])).ended == 0
        assert (await first.call("EndOwnSessions", all_others=True)).ended == 1
        assert (await namesake.call("GetMe")).subject == "ada"


async def test_faults_of_a_provider_have_a_sentence(plane: ControlPlane, provider: SignInProvider) -> None:
    async with browser(plane) as console:
        for name, (fault, expected) in {**FAULTS, **EARLY_FAULTS}.items():
            provider.reset()
            fault(provider)
            error = await sign_in(console, FILE, "/deployments/x?stage=s&line=7#log")
            assert expected in error, (name, error)
            assert "token" not in console.http.cookies, name
        provider.reset()
        provider.claims["groups"] = ["operators"]
        provider.metadata_changes["authorization_response_iss_parameter_supported"] = True
        provider.sends_issuer = True
        assert await sign_in(console, FILE) == "", "none of the faults lasts"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the provider denied it", "The provider denied it."),
        ("idp.example does not respond.", "idp.example does not respond."),
        ("localhost:5556 does not respond", "localhost:5556 does not respond."),
    ],
)
def test_a_message_begins_with_a_capital_unless_it_is_a_host(text: str, expected: str) -> None:
    assert login.to_sentence(Temporary(text)) == expected


async def test_a_slow_provider_is_not_waited_for(provider: SignInProvider) -> None:
    provider.silent.add("/token")
    with pytest.raises(Temporary, match="the provider did not respond within"):
        async with open_requests("the provider", "", SYSTEM_CLOCK, 0.2) as requests:
            await requests.get(f"{provider.url}/token")


async def test_a_sign_in_is_bound_to_the_browser(plane: ControlPlane, provider: SignInProvider) -> None:
    provider.claims["groups"] = ["operators"]
    callback = f"{plane.url}/auth/callback"
    async with browser(plane) as victim, browser(plane) as attacker:
        back = await go_to_provider(attacker, FILE)
        assert "not started by this browser" in await _error_at(victim, back), "a link of the attacker"
        await go_to_provider(victim, FILE)
        assert "not started by this browser" in await _error_at(victim, back), "with a state of its own"
        state = query_of(await go_to_provider(victim, FILE))["state"]
        denied = {"state": state, "error": "access_denied", "error_description": "<b>\x1b[31mno"}
        assert "denied the sign-in. <b>no" in await _error_at(victim, callback, denied)
        state = query_of(await go_to_provider(victim, FILE))["state"]
        assert "sent no code" in await _error_at(victim, callback, {"state": state})
        outside = await go_to_provider(victim, FILE, "//evil.example/")
        assert (await victim.http.get(outside)).headers["location"] == "/"
        again = await victim.http.get(outside)
        assert again.status_code == 303, "the state is used up"
        assert again.headers["location"] == "/login", "which says so, although there is a session"
    for header in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        async with browser(plane) as victim:
            begun = await victim.http.get(f"{plane.url}/auth/login", params={"project": FILE}, headers=header)
            assert begun.status_code == 403, "other sites cannot begin a sign-in"


@pytest.mark.parametrize(
    "address", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/\t/x"]
)
async def test_a_sign_in_that_failed_leads_to_no_other_site(
    plane: ControlPlane, provider: SignInProvider, address: str
) -> None:
    async with browser(plane) as console:
        parameters = {"project": "no such project", "next": address}
        begun = await console.http.get(f"{plane.url}/auth/login", params=parameters)
        assert begun.headers["location"] == "/login", "it did not begin"
        state = query_of(await go_to_provider(console, FILE, address))["state"]
        answer = {"state": state, "error": "access_denied"}
        denied = await console.http.get(f"{plane.url}/auth/callback", params=answer)
        assert denied.headers["location"] == "/login"


async def test_sign_ins_in_several_tabs_do_not_end_one_another(
    plane: ControlPlane, provider: SignInProvider
) -> None:
    """Each leads to the page that its tab was for. Of many tabs, the latest may sign in."""
    provider.claims["groups"] = ["operators"]
    async with browser(plane) as console:
        answers = {
            path: await go_to_provider(console, FILE, path) for path in ("/a", "/b", "/c", "/deployments/d")
        }
        first = answers.pop("/a")
        for path, back in reversed(answers.items()):
            response = await console.http.get(back)
            assert (response.status_code, response.headers["location"]) == (302, path)
        assert not [name for name in console.http.cookies if name.startswith("state")]
        console.http.cookies.delete("token")
        assert "has ended" in await _error_at(console, first)


async def test_a_user_who_took_too_long_at_the_provider_returns_to_the_page(
    plane: ControlPlane, clock: SkippableClock
) -> None:
    async with browser(plane) as console:
        back = await go_to_provider(console, FILE, "/deployments/x")
        clock.skip(LIFETIME + 1)
        response = await console.http.get(back)
        assert response.headers["location"] == login_page("/deployments/x")
        assert "took longer than 10 min" in error_of(console)


async def _error_at(console: Console, url: str, parameters: dict[str, str] | None = None) -> str:
    response = await console.http.get(url, params=parameters)
    assert response.status_code == 303, response.text
    assert "token" not in console.http.cookies
    return error_of(console)


async def test_projects_without_a_provider_say_so(plane: ControlPlane) -> None:
    async with browser(plane) as console:
        for project in ("shop", "no such project", "", "x" * 5000):
            shown = await console.http.get(f"{plane.url}/auth/provider", params={"project": project})
            assert shown.json() is None
            begun = await console.http.post(f"{plane.url}/auth/login", data={"project": project})
            assert begun.status_code == 303
            assert "project" in error_of(console)


async def test_any_cookie_and_any_parameters_are_refused(plane: ControlPlane) -> None:
    async with browser(plane) as console:
        for cookie in ("", "A" * 40, "é" * 10, "A" * 5000):
            cookies = {b"cookie": b"state=" + cookie.encode()}
            for query in ("", "?state=x", "?state=%ff&code=%00&error=%0d%0a", "?code=" + "x" * 5000):
                response = await console.http.get(f"{plane.url}/auth/callback{query}", headers=cookies)
                assert response.status_code == 303, (cookie, query)


TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(claims=st.dictionaries(st.sampled_from(["sub", "groups", "name", "picture", "a"]), VALUES))
@example(claims={"sub": "u", "groups": {"a": 1}, "picture": "javascript:alert(1)"})
def test_any_claims_are_read(claims: Any) -> None:
    settings = providers.OIDC(client_id="a", client_secret="b", issuer="https://login.example")
    try:
        identity = identity_of(settings, claims)
    except Temporary:
        return
    assert identity.username
    assert all(isinstance(group, str) for group in identity.groups)
    assert identity.avatar_url.startswith("https://") or not identity.avatar_url


ROLES = {"acme/team": "Admin", "acme/*": "Viewer", "editors": "Editor"}


@pytest.mark.parametrize(
    ("groups", "github", "stray", "expected"),
    [
        (["ACME/Team"], True, False, ["Admin"]),
        (["ACME/Team"], False, False, []),
        (["acme/team", "acme/*"], True, False, ["Admin", "Viewer"]),
        (["acme/teams"], True, False, []),
        ([], True, True, ["Viewer"]),
        (["nothing"], False, True, ["Viewer"]),
        (["Admin"], True, False, []),
        (["Admin", "editors"], False, False, ["Editor", "Admin"]),
        (["admin"], False, False, []),
    ],
)
def test_groups_give_roles(groups: list[str], github: bool, stray: bool, expected: list[str]) -> None:
    matched = matching_groups(groups, ROLES, ignore_case=github, built_in=not github)
    assert list(roles_of(matched, ROLES, stray_as_viewer=stray)) == expected


def test_a_user_group_takes_precedence_over_a_built_in_role() -> None:
    matched = matching_groups(["Admin"], {"Admin": "Viewer"}, ignore_case=False, built_in=True)
    assert list(roles_of(matched, {"Admin": "Viewer"}, stray_as_viewer=False)) == ["Viewer"]


def test_the_store_accepts_only_complete_providers() -> None:
    sso = ProjectSSOConfig(provider=ProjectSSOConfig.OIDC)
    changes: list[tuple[dict[str, str], str]] = [
        ({}, "id and secret"),
        ({"client_id": "a", "client_secret": "b"}, "issuer"),
        ({"issuer": "http://plain.example"}, "https://"),
    ]
    for change, expected in changes:
        for name, value in change.items():
            setattr(sso.oidc, name, value)
        with pytest.raises(Refused, match=expected):
            providers.encrypt_client(sso, ENCRYPTION_KEY)
    sso.oidc.issuer = "https://login.example"
    stored = providers.encrypt_client(sso, ENCRYPTION_KEY)
    settings = providers.from_record(stored, ENCRYPTION_KEY).settings
    assert (settings.client_id, settings.client_secret) == ("a", "b")
    with pytest.raises(ConfigError, match="another key"):
        providers.from_record(stored, b"another key of thirty-two bytes!")
    assert providers.encrypt_client(sso, ENCRYPTION_KEY) != stored, "each has a nonce of its own"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sharedSSOConfigs: [{name: a, provider: OIDC}]", "oidc is required"),
        ("sharedSSOConfigs: [{name: a, provider: GOOGLE}]", "accounts.google.com"),
        ("sharedSSOConfigs: [{name: a, provider: GITHUB, github: {clientId: x}}]", "clientSecretFile"),
        ("projects: [{id: p, sharedSSOName: a}]", "contains no a"),
        ("projects: [{id: p, userGroups: [{ssoGroup: a, role: Dev}]}]", "unknown role Dev; use one of Admin"),
        ("projects: [{id: p, userGroups: a}]", r"4: spec\.projects\[0\]\.userGroups: is not a list"),
        (
            "projects: [{id: p, userGroups: [{ssoGroup: a, role: Admin}, {ssoGroup: a, role: Viewer}]}]",
            "twice",
        ),
        ("projects: [{id: p, roles: [{name: Admin, policies: [a]}]}]", "built-in role"),
        ("projects: [{id: p, roles: [{name: a b, policies: [a]}]}]", "'a b' is not a role's name"),
        ("projects: [{id: p, roles: [{name: dev}]}]", "policies"),
        ("projects: [{id: p, roles: [{name: dev, policies: ['  ']}]}]", "a policy is empty"),
        (
            "projects: [{id: p, roles: [{name: dev, policies: ['resources=pod;actions=get']}]}]",
            "'pod' is not a resource",
        ),
        (
            "projects: [{id: p, roles: [{name: dev, policies: ['  ']}],"
            " userGroups: [{ssoGroup: a, role: dev}, {ssoGroup: b, role: Ops}]}]",
            r"(?s)roles\[0\]: a policy is empty.*userGroups\[1\]\.role: unknown role Ops; use one of .*dev$",
        ),
        (
            "projects: [{id: p, roles: [{name: dev, policies: &p ['resources=*;actions=*']},"
            " {name: dev, policies: *p}]}]",
            "dev is given twice",
        ),
    ],
)
def test_the_configuration_is_checked(spec: str, expected: str) -> None:
    text = f"apiVersion: pipecd.dev/v1beta1\nkind: ControlPlane\nspec:\n  {spec}\n"
    with pytest.raises(ConfigError, match=expected):
        config.load(text, "control-plane.yaml")


def test_a_configuration_of_pipecd_is_read() -> None:
    spec = config.load(
        "apiVersion: pipecd.dev/v1beta1\nkind: ControlPlane\nspec:\n  sharedSSOConfigs:\n"
        "    - {name: a, provider: GITHUB, sessionTtl: 24, unknown: 1,"
        " github: {clientId: i, clientSecret: s, baseUrl: 'https://ghe.example/api/v3', uploadUrl: ''}}\n",
        "control-plane.yaml",
    )
    provider = providers.from_config(spec.shared_sso_configs[0])
    assert isinstance(provider.settings, providers.GitHub)
    assert (provider.settings.web, provider.settings.api, provider.session_lifetime) == (
        "https://ghe.example",
        "https://ghe.example/api/v3",
        24 * 3600,
    )


async def test_a_provider_is_verified_before_it_is_stored(
    plane: ControlPlane, provider: SignInProvider
) -> None:
    """With what the form sends: what it received means the stored client."""
    async with browser(plane) as console:
        await console.sign_in(project=STORED)

        async def verify(**changes: str) -> str:
            sso = ProjectSSOConfig(provider=ProjectSSOConfig.OIDC)
            sso.oidc.issuer, sso.oidc.client_id, sso.oidc.client_secret = provider.url, REDACTED, REDACTED
            for name, value in changes.items():
                setattr(sso.oidc, name, value)
            return str((await console.call("VerifySSO", sso=sso)).problem)

        assert await verify() == ""
        assert "does not accept the client's id and secret" in await verify(client_secret="wrong")
        assert "unreachable" in await verify(issuer="http://127.0.0.1:1")
        assert "must be a URL that begins with https" in await verify(issuer="http://example.com")
        assert "proxy_url must be a URL that begins with https" in await verify(proxy_url="socks5://p:1")
        provider.replaced["/.well-known/openid-configuration"] = PlainTextResponse("<html>")
        assert "not JSON" in await verify()
        provider.reset()
        github = ProjectSSOConfig(provider=ProjectSSOConfig.GITHUB)
        github.github.base_url, github.github.client_id = provider.url, CLIENT_ID
        github.github.client_secret = REDACTED
        assert "id and secret are required" in (await console.call("VerifySSO", sso=github)).problem
        for secret, problem in ((CLIENT_SECRET, ""), ("wrong", "does not accept the client's id and secret")):
            github.github.client_secret = secret
            assert problem in (found := (await console.call("VerifySSO", sso=github)).problem)
            assert bool(found) == bool(problem)
        shown = await console.call("SeeProject")
        assert shown.sso_callback_url == "http://console.example/auth/callback"
        assert provider.url.removeprefix("http://").partition(":")[0] in shown.sso_title
        assert CLIENT_SECRET not in str(shown)
        await console.call("RemoveSSO")
        shown = await console.call("SeeProject")
        assert (shown.sso_title, shown.project.HasField("sso")) == ("", False)


async def test_a_user_sees_what_the_roles_allow(plane: ControlPlane) -> None:
    services = plane.server.services

    async def rights(*roles: str) -> set[tuple[int, int]]:
        session = Session(project_id=STORED, username="ann", roles=roles)
        async with browser(plane) as console:
            console.http.cookies.set("token", await services.sessions.start(session, by=TESTER))
            return {(right.resource, right.action) for right in (await console.call("SeeRights")).rights}

    admin, viewer, labels = await rights(ADMIN), await rights(VIEWER), await rights("shops-only")
    assert viewer < admin
    assert (Resource.AUDIT_LOG, Action.LIST) in admin - viewer
    assert (Resource.PROJECT, Action.GET) in viewer
    assert labels == {(Resource.APPLICATION, action) for action in Action if action is not Action.ALL}

"""Single sign-on is set up, used and ended in a real browser, with a real provider of OpenID Connect."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, expect
from starlette.responses import PlainTextResponse

from pipecd.controlplane.settings import AuthSettings, Settings
from pipecd.schema.model.project_pb2 import Project, ProjectSSOConfig
from tests.actors import TESTER
from tests.console.browser import open_console
from tests.controlplane.independent_provider import start_provider
from tests.controlplane.server_fixture import PASSWORD, PASSWORD_HASH, USER, ControlPlane, control_plane
from tests.controlplane.sign_in_provider import CLIENT_ID, CLIENT_SECRET, sign_in_provider
from tests.controlplane.test_single_sign_on import FAULTS, Fault, replace, set_field
from tests.ports import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

TEAM = "team"
BROKEN = "broken"
UNAVAILABLE = PlainTextResponse("", 503)
#: What a user reads. `test_faults_of_a_provider_have_a_sentence` has more faults, without a browser.
BROKEN_PROVIDERS: dict[str, tuple[Fault, str]] = {
    "wrong nonce": FAULTS["wrong nonce"],
    "wrong audience": FAULTS["wrong audience"],
    "expired": FAULTS["expired"],
    "wrong signature": FAULTS["signed by another key"],
    "away": (replace("/.well-known/openid-configuration", UNAVAILABLE), "HTTP 503"),
    "away after the user signed in": (replace("/token", UNAVAILABLE), "HTTP 503"),
    "refuses": (set_field("refuses_with", "access_denied"), "denied the sign-in"),
    "no group with a role": (lambda _: None, "ada is in none of the project's user groups"),
}


async def test_single_sign_on_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    with start_provider() as provider:
        async with (
            sign_in_provider() as broken,
            # Nothing is cached, so that each fault has its effect.
            control_plane(
                tmp_path,
                ports=(0, port),
                address=address,
                settings=Settings(auth=AuthSettings(provider_max_age=0.0)),
            ) as plane,
            open_console(browser, address) as admin,
            open_console(browser, address) as user,
        ):
            # The provider's page asks for a style sheet from elsewhere.
            await user.page.route(re.compile("^https:"), lambda route: route.fulfill(body=""))
            project = Project(id=TEAM, created_at=1, updated_at=1)
            project.static_admin.username, project.static_admin.password_hash = USER, PASSWORD_HASH
            await plane.server.services.store.create(project, by=TESTER)
            await create_project_with(broken.url, plane)
            issuer = f"http://127.0.0.1:{provider.server_port}"

            # An administrator sets it up.
            page = admin.page
            await admin.go("/login?next=/settings")
            await page.get_by_label("Project").fill(TEAM)
            await page.get_by_role("textbox", name="User").fill(USER)
            await page.locator("input[type=password]").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("link", name="Audit log")).to_be_visible()
            await page.get_by_role("button", name="Set up").click()
            dialog = page.get_by_role("dialog", name="Single sign-on")
            await expect(dialog.get_by_role("region", name="Redirect URL")).to_have_text(
                f"{address}/auth/callback"
            )
            await dialog.get_by_label("Issuer").fill("http://127.0.0.1:1")
            await dialog.get_by_label("Client id").fill("console")
            await dialog.locator("input[type=password]").fill("the secret")
            await dialog.get_by_role("button", name="Test").click()
            await expect(dialog.get_by_role("status")).to_contain_text("is unreachable")
            await dialog.get_by_label("Issuer").fill(issuer)
            await dialog.get_by_role("button", name="Test").click()
            await expect(dialog.get_by_role("status")).to_contain_text("accepts the client")
            await dialog.get_by_role("button", name="Save").click()
            await expect(dialog).to_have_count(0)
            section = page.get_by_role("region", name="Single sign-on")
            await expect(section).to_contain_text(issuer)
            await section.get_by_role("button", name="Change provider").click()
            await expect(dialog.locator("input[type=password]")).to_have_value("")
            await page.keyboard.press("Escape")
            await page.get_by_role("button", name="Add group").click()
            dialog = page.get_by_role("dialog", name="Add user group")
            await dialog.get_by_label("Group").fill("operators")
            await dialog.get_by_label("Role").click()
            await page.get_by_role("option", name="Viewer").click()
            await dialog.get_by_role("button", name="Add").click()
            await expect(dialog).to_have_count(0)

            # A user whose provider is broken reads what is wrong, tries again, and gets to the page at last.
            page = user.page
            await user.go("/events?q=image")
            await page.get_by_label("Project").fill(BROKEN)
            sign_in = page.get_by_role("link", name="Continue with")
            for name, (fault, sentence) in BROKEN_PROVIDERS.items():
                broken.reset()
                fault(broken)
                await sign_in.click()
                alert = page.get_by_role("alert")
                await expect(alert, name).to_contain_text(sentence)
                text = (await alert.inner_text()).removeprefix("Login failed").strip()
                assert text.endswith(".") and len(text) < 400, text
                await expect(page).to_have_url(f"{address}/login?next=%2Fevents%3Fq%3Dimage")
            await user.go("/auth/callback?state=of-another-browser&code=x")
            await expect(page.get_by_role("alert")).to_contain_text("not started by this browser")
            await user.go("/login?next=%2Fevents%3Fq%3Dimage")
            broken.reset()
            broken.claims["groups"] = ["operators"]
            await sign_in.click()
            await expect(page).to_have_url(f"{address}/events?q=image")
            # Also with a session, which the page of the sign-in that fails would show.
            await user.go("/auth/callback?state=of-another-browser&code=x")
            await expect(page.get_by_role("alert")).to_contain_text("not started by this browser")
            await page.context.clear_cookies()
            await page.evaluate("localStorage.clear()")

            # A user signs in at the provider, at first in vain, and sees what a viewer may see.
            await user.go("/events?q=image")
            await page.get_by_label("Project").fill(TEAM)
            await page.get_by_role("link", name="Continue with").click()
            await expect(page.get_by_role("textbox")).to_be_visible()
            state = parse_qs(urlsplit(page.url).query)["state"][0]
            await user.go(f"/auth/callback?state={state}&error=access_denied")
            await expect(page.get_by_role("alert")).to_contain_text("denied the sign-in")
            await page.get_by_role("link", name="Continue with").click()
            await page.get_by_role("textbox").fill("ada")
            await page.get_by_role("button", name="Authorize", exact=True).click()
            await expect(page).to_have_url(f"{address}/events?q=image")
            navigation = page.get_by_role("navigation", name="Main")
            await expect(navigation.get_by_role("link", name="Settings")).to_be_visible()
            for hidden in ("API keys", "Audit log"):
                await expect(navigation.get_by_role("link", name=hidden)).to_have_count(0)
            await page.get_by_role("button", name="Signed in as ada").click()
            await page.get_by_role("menuitem", name="Sessions").click()
            await expect(page.get_by_role("row").filter(has_text="This session")).to_contain_text(
                "Single sign-on · Viewer"
            )

            # The administrator ends the session.
            page = admin.page
            await admin.go("/sessions?users=all")
            row = page.get_by_role("row").filter(has_text="ada")
            await expect(row).to_contain_text("Chrome on Linux")
            await row.get_by_role("button", name="End session").click()
            await page.get_by_role("dialog").get_by_role("button", name="End session").click()
            await expect(row).to_have_count(0)
            await expect(user.page).to_have_url(re.compile(r"/login\?next=%2Fsessions"))
            await expect(user.page.get_by_role("status")).to_contain_text("Your session has ended.")
            user.errors[:] = [error for error in user.errors if "401" not in error]


async def create_project_with(issuer: str, plane: ControlPlane) -> None:
    project = Project(id=BROKEN, created_at=1, updated_at=1)
    sso = ProjectSSOConfig(provider=ProjectSSOConfig.OIDC)
    sso.oidc.client_id, sso.oidc.client_secret, sso.oidc.issuer = CLIENT_ID, CLIENT_SECRET, issuer
    project.sso.CopyFrom(plane.server.services.projects.encrypt_client(sso))
    project.user_groups.add(sso_group="operators", role="Viewer")
    await plane.server.services.store.create(project, by=TESTER)

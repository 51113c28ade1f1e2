"""What the console offers to users by their roles: a viewer, and an editor of some applications."""

import re
from collections.abc import Sequence
from itertools import chain

import pytest
import sqlalchemy as sa
from playwright.async_api import Page, expect

from pipecd.client import Client
from pipecd.controlplane.store.tables import audit
from pipecd.model.access import VIEWER
from pipecd.schema.model.access_pb2 import ProjectRBACPolicy, ProjectRBACResource, ProjectRBACRole
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.project_pb2 import Project
from tests.actors import TESTER
from tests.console.browser import BrowserUser
from tests.console.extremes import seed_pages
from tests.console.test_appearance import addresses_by_route
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

#: Names of controls that change something, of which a viewer may use none.
CHANGES = re.compile(
    r"(add|approve|reject|cancel|skip|retry|sync( options)?|roll back|remove|register|upgrade|create|edit|"
    r"delete|disable|enable|set up|change|more actions|send test|verify|save description)\b",
    re.IGNORECASE,
)
#: Of the buttons and switches of a page that can be used.
NAMES = """elements => elements.filter((element) => !element.disabled)
    .map(({ ariaLabel, innerText, labels }) => ariaLabel || innerText.trim() || labels?.[0]?.innerText)"""


async def find_changes(page: Page) -> Sequence[str]:
    names = await page.locator("main").locator("button, a[href*=add], input[role=switch]").evaluate_all(NAMES)
    return [name for name in names if name and CHANGES.match(name)]


async def test_a_viewer_is_offered_no_change_and_causes_no_refusal(
    guest: BrowserUser, w: World, agent: Client
) -> None:
    """On every page; those that the role does not include say so, and request nothing."""
    seeded = await seed_pages(w, agent)
    page = guest.page
    await guest.has_roles(w.plane, VIEWER)
    for path in chain.from_iterable(addresses_by_route(seeded).values()):
        await guest.go(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await expect(page.get_by_role("status", name=re.compile("^Loading"))).to_have_count(0)
        forbidden = page.get_by_role("heading", name="Your roles do not include this page")
        included = path not in ("/api-keys", "/audit-log", "/applications/add")
        await expect(forbidden).to_have_count(0 if included else 1)
        assert await find_changes(page) == [], path

    # The menu of an agent has what the role may see.
    await guest.go("/pipeds")
    await page.get_by_role("button", name="Actions for home").click()
    await expect(page.get_by_role("menuitem")).to_have_text(["Notifications"])
    await page.keyboard.press("Escape")
    # The command palette leaves out what the navigation does.
    await page.get_by_role("button", name=re.compile("Search or jump to")).click()
    await page.get_by_placeholder("Search applications, deployments").fill("piped")
    found = page.get_by_role("dialog").get_by_role("button")
    await expect(found).to_have_text(["Pipedsgp"])
    await w.plane.server.services.refusals.flush()
    log = await w.console.call("ListAudit", operations=["refuse"], page_size=50)
    assert [entry.summary for entry in log.entries] == []


def policy(
    action: ProjectRBACPolicy.Action.ValueType,
    *types: ProjectRBACResource.ResourceType.ValueType,
    **labels: str,
) -> ProjectRBACPolicy:
    resources = [ProjectRBACResource(type=each, labels=labels) for each in types]
    return ProjectRBACPolicy(resources=resources, actions=[action])


async def test_an_editor_of_some_applications_is_offered_changes_of_these(
    guest: BrowserUser, w: World
) -> None:
    """Also of several at once. When the role changes, the page follows."""
    store, team = w.plane.server.services.store, "team"
    kinds = ProjectRBACResource
    see = [
        policy(action, kinds.APPLICATION, kinds.DEPLOYMENT, kinds.PIPED, kinds.PROJECT)
        for action in (ProjectRBACPolicy.GET, ProjectRBACPolicy.LIST)
    ]
    edit = policy(ProjectRBACPolicy.UPDATE, kinds.APPLICATION, env="dev")
    project = Project(id=team, static_admin_disabled=True, created_at=1, updated_at=1)
    project.rbac_roles.append(ProjectRBACRole(name="developer", policies=[*see, edit]))
    await store.create(project, by=TESTER)
    await store.create(Piped(id="team-agent", name="agent", project_id=team), by=TESTER)
    for env in ("dev", "prod"):
        application = Application(
            id=f"app-{env}", name=f"shop-{env}", project_id=team, piped_id="team-agent", labels={"env": env}
        )
        await store.create(application, by=TESTER)

    page = guest.page
    await guest.has_roles(w.plane, "developer", project=team)
    await guest.go("/applications")
    await page.get_by_role("checkbox", name="Select all on this page").check()
    actions = page.get_by_role("group", name="Actions on the selected applications")
    await actions.get_by_role("button", name="Disable").click()
    dialog = page.get_by_role("dialog", name="Disable 1 application?")
    await expect(dialog).to_contain_text("1 of the 2 selected is left out")
    await dialog.get_by_role("button", name="Disable 1 application").click()
    await expect(dialog.get_by_role("list", name="Results")).to_contain_text("shop-dev")
    await expect(dialog.get_by_role("list", name="Results")).to_contain_text("Disabled")
    await dialog.get_by_role("button", name="Close").last.click()
    assert not (await store.get(Application, "app-prod")).message.disabled

    await guest.go("/applications/app-prod")
    await expect(page.get_by_role("heading", name="shop-prod", level=1)).to_be_visible()
    sync = page.get_by_role("button", name="Sync", exact=True)
    await expect(page.get_by_role("region", name="Sync status")).to_be_visible()
    await expect(sync).to_have_count(0)

    await guest.go("/applications/app-dev")
    await expect(sync).to_be_disabled()
    await sync.focus()
    await expect(page.get_by_role("tooltip")).to_contain_text("The application is disabled")

    def end_editing(record: Project) -> None:
        record.rbac_roles[0].policies.remove(edit)

    await store.update(Project, team, end_editing, by=TESTER)
    await expect(sync).to_have_count(0)
    await guest.go("/events")
    await expect(page.get_by_role("main")).to_contain_text("resources=event;actions=list")


async def test_a_role_without_applications_and_project_opens_the_console(
    guest: BrowserUser, w: World
) -> None:
    """On the first page that it includes, which follows changes and requests nothing that is refused."""
    store, team = w.plane.server.services.store, "team"
    see = [
        policy(action, ProjectRBACResource.DEPLOYMENT)
        for action in (ProjectRBACPolicy.GET, ProjectRBACPolicy.LIST)
    ]
    project = Project(id=team, static_admin_disabled=True, created_at=1, updated_at=1)
    project.rbac_roles.append(ProjectRBACRole(name="watcher", policies=see))
    await store.create(project, by=TESTER)
    page = guest.page
    await guest.has_roles(w.plane, "watcher", project=team)
    await guest.go("/")
    await expect(page).to_have_url(f"{w.plane.url}/deployments")
    await expect(page.get_by_role("banner").get_by_role("status")).to_have_text("Live")
    deployment = Deployment(
        id="d", project_id=team, application_id="a", application_name="shop", created_at=1
    )
    await store.create(deployment, by=TESTER)
    await page.get_by_role("link", name="shop").first.click()
    await expect(page.get_by_role("heading", name="shop", level=1)).to_be_visible()
    await w.plane.server.services.refusals.flush()
    refusals = sa.select(audit.c.action).where(audit.c.project_id == team, audit.c.operation == "refuse")
    assert await store.database.rows(refusals) == []

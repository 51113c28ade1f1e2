"""Actions on several applications, and the comparison of two deployments."""

import time

import pytest
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.actors import TESTER
from tests.console.axe import expect_no_findings
from tests.console.browser import BrowserUser
from tests.console.seeds import build_deployment, report_repository
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_several_applications_are_disabled_and_a_sync_says_why_each_failed(
    user: BrowserUser, w: World, agent: Client
) -> None:
    page = user.page
    await report_repository(agent)
    for name in ("checkout", "search", "cart"):
        await w.register(name, kind=TERRAFORM)
    await user.go("/applications")
    await page.get_by_role("checkbox", name="Select checkout").check()
    await page.get_by_role("checkbox", name="Select cart").check()
    actions = page.get_by_role("group", name="Actions on the selected applications")
    await expect(actions).to_contain_text("2 selected")

    await actions.get_by_role("button", name="Disable").click()
    dialog = page.get_by_role("dialog", name="Disable 2 applications?")
    await dialog.get_by_role("button", name="Disable 2 applications").click()
    results = page.get_by_role("list", name="Results").get_by_role("listitem")
    await expect(results.filter(has_text="Succeeded")).to_have_count(2)
    await dialog.get_by_role("button", name="Close").last.click()

    await actions.get_by_role("button", name="Sync").click()
    dialog = page.get_by_role("dialog", name="Sync 2 applications?")
    await dialog.get_by_role("button", name="Sync 2 applications").click()
    await expect(results.filter(has_text="cart is disabled and cannot be synced")).to_have_count(1)
    await expect(results.filter(has_text="Failed")).to_have_count(2)
    await dialog.get_by_role("button", name="Close").last.click()
    await actions.get_by_role("button", name="Labels").click()
    dialog = page.get_by_role("dialog", name="Labels of 2 applications")
    await dialog.get_by_placeholder("key:value").fill("team:shop")
    await page.keyboard.press("Enter")
    commands = dialog.get_by_role("region", name="Commands")
    await expect(commands).to_contain_text('.spec.labels["team"] = "shop"')
    await expect(commands).to_contain_text("git push")
    await expect_no_findings(page, within="[role=dialog]")
    await dialog.get_by_role("button", name="Close").click()
    await actions.get_by_role("button", name="Clear selection").click()
    await expect(actions).to_have_count(0)
    user.errors[:] = [error for error in user.errors if "SyncApplication" not in error]


async def test_two_deployments_are_compared(user: BrowserUser, w: World, agent: Client) -> None:
    page = user.page
    await report_repository(agent)
    app = await w.register("shop", kind=TERRAFORM)
    now = int(time.time())
    for number, message in enumerate(("Add the shop", "Raise the memory")):
        deployment = build_deployment(w, app, "shop", at=now - 600 + number * 300)
        deployment.id = f"d{number}"
        deployment.trigger.commit.message = message
        deployment.trigger.commit.hash = f"{number}abcdef0"
        deployment.status = DeploymentStatus.DEPLOYMENT_SUCCESS
        deployment.completed_at = deployment.created_at + 30 * (number + 1)
        await w.plane.server.services.store.create(deployment, by=TESTER)
    await user.go("/deployments/d1")
    await page.get_by_role("link", name="Compare", exact=True).click()
    properties = page.get_by_role("table", name="Properties")
    await expect(properties.get_by_role("row", name="Message Add the shop Raise the memory")).to_be_visible()
    await expect(properties.get_by_role("row", name="Duration 30 s 1 min")).to_be_visible()

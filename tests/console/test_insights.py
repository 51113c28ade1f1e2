"""The page of delivery figures."""

import random
import re

import pytest
from playwright.async_api import expect

from pipecd.controlplane.store import Store
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.actors import TESTER
from tests.console.axe import expect_no_findings
from tests.console.browser import BrowserUser
from tests.controlplane.server_fixture import PROJECT
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
DAY = 86_400


async def seed_deliveries(store: Store, now: int) -> None:
    """Sixty days of two applications; the last change of `cart` failed."""
    generator = random.Random(3)
    for name, env in (("shop", "prod"), ("cart", "dev")):
        application = Application(id=name, name=name, project_id=PROJECT, labels={"env": env})
        await store.create(application, by=TESTER)
        for day in range(60, 0, -1):
            failed = name == "cart" and day in (20, 6, 1)
            if generator.random() < 0.4 and not failed:
                continue
            ended = now - day * DAY + generator.randrange(6 * 3600)
            deployment = Deployment(
                id=f"{name}-{day}",
                application_id=name,
                application_name=name,
                project_id=PROJECT,
                kind=ApplicationKind.ECS if name == "shop" else ApplicationKind.LAMBDA,
                labels={"env": env},
                status=DeploymentStatus.DEPLOYMENT_FAILURE if failed else DeploymentStatus.DEPLOYMENT_SUCCESS,
                stages=[PipelineStage(id="s", name="ECS_SYNC", status=StageStatus.STAGE_FAILURE)],
                completed_at=ended,
            )
            deployment.trigger.commit.created_at = ended - generator.randrange(600, 20_000)
            await store.create(deployment, by=TESTER)


async def test_the_figures_are_shown_filtered_and_downloaded(user: BrowserUser, w: World) -> None:
    page = user.page
    await user.go("/insights")
    await expect(page.get_by_role("heading", name="No deployment has ended yet")).to_be_visible()

    services = w.plane.server.services
    await seed_deliveries(services.store, services.now())
    await page.reload()
    frequency = page.get_by_role("region", name="Deployment frequency", exact=True)
    await expect(frequency).to_contain_text(re.compile(r"\d+ deployments succeeded, 3 did not"))
    rate = page.get_by_role("region", name="Change failure rate", exact=True)
    await expect(rate).to_contain_text(re.compile(r"3 of \d+ changes failed"))
    failing = page.get_by_role("region", name="Failing now")
    await expect(failing.get_by_role("link", name="cart")).to_be_visible()
    table = page.get_by_role("table", name="Lead time for changes")
    await expect(table.get_by_role("row")).to_have_count(31)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download CSV").click()
    lines = (await (await download.value).path()).read_text().splitlines()
    assert len(lines) == 31 and lines[0].startswith("start,deployments,succeeded")
    await expect_no_findings(page)

    await page.get_by_role("combobox", name="Application").fill("sho")
    await page.get_by_role("option", name="shop").click()
    await expect(rate).to_contain_text(re.compile(r"None of \d+ changes failed"))
    await page.get_by_text("Months", exact=True).click()
    await expect(page).to_have_url(
        re.compile(r"application=shop.*bucket=month|bucket=month.*application=shop")
    )
    await page.reload()
    await expect(rate).to_contain_text(re.compile(r"None of \d+ changes failed"))
    restore = page.get_by_role("region", name="Time to restore", exact=True)
    await expect(restore).to_contain_text("–")
    await expect(restore).to_contain_text("No failure ended.")

    await user.go("/insights?label=env:none")
    await expect(page.get_by_role("heading", name="No deployment ended in this time")).to_be_visible()
    await page.get_by_role("button", name="Clear filters").last.click()
    await expect(frequency).to_be_visible()

"""Pagination of lists longer than one page."""

from itertools import chain

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from pipecd.client import Client
from pipecd.schema.agent.deployments_pb2 import CreateDeploymentRequest
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.console.browser import BrowserUser
from tests.console.seeds import build_deployment, report_repository
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: One more than two pages of deployments, and more than one page of applications.
NAMES = [f"shop-{number:02}" for number in range(81)]
#: When the first deployment was created, in seconds since 1970.
FIRST_CREATED_AT = 1_790_000_000


@pytest_asyncio.fixture(loop_scope="session")
async def applications(w: World, agent: Client) -> None:
    """Requested before `user`, whose page would be rendered again for each of them."""
    await report_repository(agent)
    for number, name in enumerate(NAMES):
        deployment = build_deployment(
            w, await w.register(name, kind=TERRAFORM), name, at=FIRST_CREATED_AT + number
        )
        await agent.call(agent.piped.CreateDeployment, CreateDeploymentRequest(deployment=deployment))


async def listed_names(page: Page) -> list[str]:
    """The application names on this page, in order."""
    links = page.get_by_role("main").get_by_role("link", name="shop-")
    return [text.strip() for text in await links.all_text_contents()]


async def test_deployments_are_paginated_newest_first(
    w: World, applications: None, user: BrowserUser
) -> None:
    page = user.page
    pagination = page.get_by_role("navigation", name="Pagination")
    newer, older = (pagination.get_by_role("button", name=name) for name in ("Newer", "Older"))
    await user.go("/deployments")
    await expect(page.get_by_role("heading", name="Deployments", level=1)).to_be_visible()
    names_by_page = []
    for first in (80, 40, 0):
        await expect(page.get_by_role("link", name=NAMES[first], exact=True)).to_be_visible()
        names_by_page.append(await listed_names(page))
        if first:
            await older.click()
    assert [len(names) for names in names_by_page] == [40, 40, 1]
    assert list(chain(*names_by_page)) == NAMES[::-1], "nothing is missing or repeated"
    await expect(older).to_be_disabled()

    last_page_url = str(await page.evaluate("location.href"))
    await newer.click()
    await expect(page.get_by_role("link", name=NAMES[40], exact=True)).to_be_visible()
    await page.goto(last_page_url)
    await expect(page.get_by_role("link", name=NAMES[0], exact=True)).to_be_visible()
    await page.get_by_label("Search by application").fill("shop-7")
    await expect(page.get_by_role("link", name=NAMES[79], exact=True)).to_be_visible()
    assert await listed_names(page) == NAMES[70:80][::-1], "a filter starts at the first page"


async def test_applications_are_paginated_and_counted(
    w: World, applications: None, user: BrowserUser
) -> None:
    page = user.page
    pagination = page.get_by_role("navigation", name="Pagination")
    await user.go("/applications")
    await expect(pagination).to_contain_text("81 applications")
    first = await listed_names(page)
    assert len(first) == 50
    await pagination.get_by_role("button", name="Next").click()
    await expect(page.get_by_role("link", name=first[0], exact=True)).to_have_count(0)
    await expect(pagination.get_by_role("button", name="Next")).to_be_disabled()
    second = await listed_names(page)
    assert sorted(first + second) == NAMES
    await page.get_by_label("Search by name or label").fill("shop-0")
    await expect(page.get_by_text("10 applications")).to_be_visible()
    assert sorted(await listed_names(page)) == NAMES[:10]

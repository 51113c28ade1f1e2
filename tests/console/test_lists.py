"""Lists that are longer than a page: the control plane hands them out, the page leafs through them."""

from itertools import chain

import pytest
from playwright.async_api import Page, expect

from pipecd.client import Client
from pipecd.schema.agent.deployments_pb2 import CreateDeploymentRequest
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.console.browser import Visitor
from tests.console.seeds import deployment, repository
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: One more than two pages of deployments, and than one of applications.
NAMES = [f"shop-{number:02}" for number in range(81)]
BEGAN = 1_790_000_000


@pytest.fixture
async def many(w: World, agent: Client) -> None:
    await repository(agent)
    for number, name in enumerate(NAMES):
        made = deployment(w, await w.registered(name, kind=TERRAFORM), name, at=BEGAN + number)
        await agent.call(agent.piped.CreateDeployment, CreateDeploymentRequest(deployment=made))


async def shown(page: Page) -> list[str]:
    """The names on this page, in their order."""
    links = page.get_by_role("main").get_by_role("link", name="shop-")
    return [text.strip() for text in await links.all_inner_texts()]


async def test_deployments_are_leafed_through_newest_first(somebody: Visitor, w: World, many: None) -> None:
    page = somebody.page
    pages = page.get_by_role("navigation", name="Pages of this list")
    newer, older = (pages.get_by_role("button", name=name) for name in ("Newer", "Older"))
    await page.get_by_role("link", name="Deployments", exact=True).click()
    await expect(page.get_by_role("heading", name="Deployments", level=1)).to_be_visible()
    found = []
    for first in (80, 40, 0):
        await expect(page.get_by_role("link", name=NAMES[first], exact=True)).to_be_visible()
        found.append(await shown(page))
        if first:
            await older.click()
    assert [len(one) for one in found] == [40, 40, 1]
    assert list(chain(*found)) == NAMES[::-1], "nothing is lost or told twice"
    await expect(older).to_be_disabled()

    place = str(await page.evaluate("location.href"))
    await newer.click()
    await expect(page.get_by_role("link", name=NAMES[40], exact=True)).to_be_visible()
    await page.goto(place)
    await expect(page.get_by_role("link", name=NAMES[0], exact=True)).to_be_visible()
    await page.get_by_label("Search by application").fill("shop-7")
    await expect(page.get_by_role("link", name=NAMES[79], exact=True)).to_be_visible()
    assert await shown(page) == NAMES[70:80][::-1], "a filter begins at the first page"


async def test_applications_are_leafed_through_and_counted(somebody: Visitor, w: World, many: None) -> None:
    page = somebody.page
    pages = page.get_by_role("navigation", name="Pages of this list")
    await somebody.go("/applications")
    await expect(pages).to_contain_text("81 applications")
    first = await shown(page)
    assert len(first) == 50
    await pages.get_by_role("button", name="Next").click()
    await expect(page.get_by_role("link", name=first[0], exact=True)).to_have_count(0)
    await expect(pages.get_by_role("button", name="Next")).to_be_disabled()
    second = await shown(page)
    assert sorted(first + second) == NAMES
    await page.get_by_label("Search by name or label").fill("shop-0")
    await expect(page.get_by_text("10 applications")).to_be_visible()
    assert sorted(await shown(page)) == NAMES[:10]

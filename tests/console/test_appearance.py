"""The quickstart guide, the colour scheme, and the contrast of texts."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from pipecd.quickstart.guide import describe_demo
from pipecd.quickstart.state import State
from tests.console.browser import BrowserUser, open_console
from tests.eventually import eventually
from tests.world import World, world

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
PAGES = ("/applications", "/applications/add", "/deployments", "/pipeds", "/api-keys")
REMOTE = "http://127.0.0.1:8081/demo.git"
#: Texts with less contrast to their background than WCAG requires: 4.5, or 3 for large text.
LOW_CONTRAST_TEXTS = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("color(srgb") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const blend = (top, below) =>
    [0, 1, 2].map((channel) => top[channel] * top[3] + below[channel] * (1 - top[3])).concat(1);
  const backgroundOf = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      layers.push(parse(getComputedStyle(node).backgroundColor));
    }
    return layers.reduceRight((below, layer) => blend(layer, below), [255, 255, 255, 1]);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => {
      const channel = value / 255;
      return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const hasText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const visibility = { visibilityProperty: true, opacityProperty: true };
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility(visibility) && hasText(element))
    .filter((element) => !element.closest(":disabled, [data-disabled], style, script, noscript"))
    .flatMap((element) => {
      const style = getComputedStyle(element);
      const background = backgroundOf(element);
      const text = blend(parse(style.color), background);
      const [high, low] = [luminance(text), luminance(background)].sort((x, y) => y - x);
      const ratio = (high + 0.05) / (low + 0.05);
      const large = parseFloat(style.fontSize) >= 24;
      const excerpt = element.textContent.trim().slice(0, 40);
      return ratio < (large ? 3 : 4.5) ? [`${ratio.toFixed(2)} ${excerpt}`] : [];
    });
}"""
#: The lightness of the page background, 0–255.
LIGHTNESS = "() => Number(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/)[0])"


@pytest.fixture
async def quickstart(tmp_path: Path) -> AsyncIterator[World]:
    """The control plane as the quickstart runs it: with the content of the guide."""
    state = State.open(tmp_path / "state")
    state.write_guide(describe_demo(state, REMOTE))
    newcomer = json.loads((state.folder / "newcomer.json").read_text())
    async with world(tmp_path, newcomer=newcomer) as running:
        yield running


async def test_the_quickstart_guide_is_shown_and_can_be_hidden(browser: Browser, quickstart: World) -> None:
    async with open_console(browser, quickstart.plane.url) as user:
        page = user.page
        await user.go("/")
        await user.sign_in()
        guide = page.get_by_role("region", name="Deploy your first change")
        await expect(guide).to_contain_text(REMOTE)
        clone = guide.get_by_role("region", name="Commands: Clone the repository")
        await expect(clone).to_have_text(f"git clone {REMOTE} demo")
        await expect(guide.get_by_role("listitem")).to_have_count(4)
        change = guide.get_by_role("region", name=re.compile("Commands: Change the website"))
        await expect(change).to_contain_text("git push")

        await guide.get_by_role("button", name="Hide the guide").click()
        await expect(guide).to_have_count(0)
        await page.reload()
        show = page.get_by_role("button", name="Show the guide")
        await expect(show).to_be_visible()
        await expect(guide).to_have_count(0)
        await show.click()
        await expect(clone).to_be_visible()


async def test_there_is_no_guide_without_a_quickstart(user: BrowserUser) -> None:
    page = user.page
    async with page.expect_response("**/quickstart.json") as response:
        await page.reload()
    assert (await response.value).ok
    await expect(page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
    await expect(page.get_by_role("region", name="Deploy your first change")).to_have_count(0)


async def select_scheme(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Colour scheme").click()
    await page.get_by_role("menuitemradio", name=name).click()


async def expect_light(page: Page) -> None:
    """Waits for the transition between the colour schemes."""

    async def background_is_light() -> bool:
        return float(await page.evaluate(LIGHTNESS)) > 200

    await eventually(background_is_light)


async def expect_dark(page: Page) -> None:
    async def background_is_dark() -> bool:
        return float(await page.evaluate(LIGHTNESS)) < 60

    await eventually(background_is_dark)


async def test_the_colour_scheme_is_selectable_stored_and_follows_the_system_by_default(
    user: BrowserUser,
) -> None:
    page = user.page
    await page.emulate_media(color_scheme="light")
    await expect_light(page)
    await select_scheme(page, "Dark")
    await expect_dark(page)
    await page.reload()
    await expect(page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
    await page.get_by_role("button", name="Colour scheme").click()
    await expect(page.get_by_role("menuitemradio", name="Dark")).to_be_checked()
    await expect_dark(page)
    await page.get_by_role("menuitemradio", name="System").click()
    await expect_light(page)
    await page.emulate_media(color_scheme="dark")
    await expect_dark(page)


@pytest.mark.parametrize("scheme", ["Light", "Dark"])
async def test_every_text_has_enough_contrast(user: BrowserUser, w: World, scheme: str) -> None:
    page = user.page
    await w.console.call("UpdatePipedDesiredVersion", version="v9.9.9", piped_ids=[w.piped_id])
    await select_scheme(page, scheme)

    async def contrast_is_sufficient() -> bool:
        """Retried, since elements that fade in have too little contrast for a moment."""
        texts = await page.evaluate(LOW_CONTRAST_TEXTS)
        assert texts == [], page.url
        return True

    for path in PAGES:
        await user.go(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await expect(page.get_by_role("status", name=re.compile("^Loading"))).to_have_count(0)
        await eventually(contrast_is_sufficient)

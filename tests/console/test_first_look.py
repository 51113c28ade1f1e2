"""What meets somebody who comes for the first time: what to try next, in light and in dark."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from pipecd.quickstart.state import State
from tests.console.browser import Visitor, visitor
from tests.eventually import eventually
from tests.world import World, world

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
PAGES = ("/applications", "/applications/add", "/deployments", "/pipeds", "/api-keys")
REMOTE = "http://127.0.0.1:8081/demo.git"
#: Texts that stand out from what is behind them by less than WCAG asks for: 4.5, or 3 where they are large.
PALE = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("color(srgb") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = (top, below) =>
    [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1);
  const behind = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((each) => {
      const part = each / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const says = (one) => [...one.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && says(one))
    .filter((one) => !one.closest(":disabled, [data-disabled], style, script, noscript"))
    .flatMap((one) => {
      const style = getComputedStyle(one);
      const back = behind(one);
      const [high, low] = [light(over(parse(style.color), back)), light(back)].sort((x, y) => y - x);
      const ratio = (high + 0.05) / (low + 0.05);
      const large = parseFloat(style.fontSize) >= 24;
      return ratio < (large ? 3 : 4.5) ? [`${ratio.toFixed(2)} ${one.textContent.trim().slice(0, 40)}`] : [];
    });
}"""
#: How light the page itself is, 0–255.
LIGHTNESS = "() => Number(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/)[0])"


@pytest.fixture
async def quickstart(tmp_path: Path) -> AsyncIterator[World]:
    """The control plane as the quickstart runs it: with something for newcomers."""
    state = State.opened(tmp_path / "state")
    state.write_newcomer(REMOTE)
    newcomer = json.loads((state.folder / "newcomer.json").read_text())
    async with world(tmp_path, newcomer=newcomer) as running:
        yield running


async def test_a_newcomer_is_told_what_to_try_and_may_put_it_away(opened: Browser, quickstart: World) -> None:
    async with visitor(opened, quickstart.plane.url) as somebody:
        page = somebody.page
        await somebody.go("/")
        await somebody.sign_in()
        panel = page.get_by_role("region", name="Deploy something")
        await expect(panel).to_contain_text(REMOTE)
        first = panel.get_by_role("region", name="Commands: Get a copy of the repository")
        await expect(first).to_have_text(f"git clone {REMOTE} demo")
        await expect(panel.get_by_role("listitem")).to_have_count(4)
        change = panel.get_by_role("region", name=re.compile("Commands: Change the website"))
        await expect(change).to_contain_text("git push")

        await panel.get_by_role("button", name="Put this panel away").click()
        await expect(panel).to_have_count(0)
        await page.reload()
        again = page.get_by_role("button", name="What to try next")
        await expect(again).to_be_visible()
        await expect(panel).to_have_count(0)
        await again.click()
        await expect(first).to_be_visible()


async def test_elsewhere_nobody_is_taken_for_a_newcomer(somebody: Visitor) -> None:
    page = somebody.page
    async with page.expect_response("**/quickstart.json") as answered:
        await page.reload()
    assert (await answered.value).ok
    await expect(page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
    await expect(page.get_by_role("region", name="Deploy something")).to_have_count(0)


async def choose_scheme(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Light or dark").click()
    await page.get_by_role("menuitemradio", name=name).click()


async def is_light(page: Page) -> None:
    """Also after its colours have changed over, which takes a moment."""

    async def look() -> bool:
        return float(await page.evaluate(LIGHTNESS)) > 200

    await eventually(look)


async def is_dark(page: Page) -> None:
    async def look() -> bool:
        return float(await page.evaluate(LIGHTNESS)) < 60

    await eventually(look)


async def test_the_theme_is_chosen_kept_and_otherwise_the_systems(somebody: Visitor) -> None:
    page = somebody.page
    await page.emulate_media(color_scheme="light")
    await is_light(page)
    await choose_scheme(page, "Dark")
    await is_dark(page)
    await page.reload()
    await expect(page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
    await page.get_by_role("button", name="Light or dark").click()
    await expect(page.get_by_role("menuitemradio", name="Dark")).to_be_checked()
    await is_dark(page)
    await page.get_by_role("menuitemradio", name="As the system").click()
    await is_light(page)
    await page.emulate_media(color_scheme="dark")
    await is_dark(page)


@pytest.mark.parametrize("scheme", ["Light", "Dark"])
async def test_everything_can_be_read(somebody: Visitor, w: World, scheme: str) -> None:
    page = somebody.page
    await w.console.call("UpdatePipedDesiredVersion", version="v9.9.9", piped_ids=[w.piped_id])
    await choose_scheme(page, scheme)

    async def nothing_is_pale() -> bool:
        """Once the page stands still: what fades in is pale for a moment."""
        pale = await page.evaluate(PALE)
        assert pale == [], page.url
        return True

    for path in PAGES:
        await somebody.go(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await expect(page.get_by_role("status", name=re.compile("^Loading"))).to_have_count(0)
        await eventually(nothing_is_pale)

"""The quickstart guide, the colour scheme, and what axe-core finds on the pages."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from pipecd.client import Client
from pipecd.quickstart.guide import describe_demo
from pipecd.quickstart.ports import Ports
from pipecd.quickstart.state import State
from tests.console.axe import COLOUR_RULES, expect_no_findings
from tests.console.browser import BrowserUser, SharedContext
from tests.console.extremes import Pages, seed_pages
from tests.console.layout import expect_sound_layout, find_faults
from tests.eventually import eventually
from tests.world import World, world

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
ROUTES = Path(__file__).parents[2] / "web/src/routes.tsx"
#: Of the window, in CSS pixels: a desktop, a tablet and a phone.
WIDTHS, HEIGHT = (1440, 768, 390), 860
REMOTE = "http://127.0.0.1:8081/demo.git"
#: The lightness of the page background, 0–255.
LIGHTNESS = "() => Number(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/)[0])"


@pytest_asyncio.fixture(loop_scope="session")
async def quickstart(tmp_path: Path, console_port: int) -> AsyncIterator[World]:
    """The control plane as the quickstart runs it: with the content of the guide."""
    state = State.open(tmp_path / "state")
    state.write_guide(describe_demo(state, REMOTE, Ports()))
    newcomer = json.loads((state.folder / "newcomer.json").read_text())
    async with world(tmp_path, ports=(0, console_port), newcomer=newcomer) as running:
        yield running


async def test_the_quickstart_guide_is_shown_and_can_be_hidden(
    shared_context: SharedContext, quickstart: World
) -> None:
    async with shared_context.open(quickstart.plane.url) as user:
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
        await user.go("/")
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
    await user.go("/")
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


def addresses_by_route(seeded: Pages) -> Mapping[str, Sequence[str]]:
    """Of each page of `routes.tsx`, the addresses that are checked."""
    alone = (
        "/applications /applications/add /deployments /attention /chains /traces /events /insights /pipeds "
        "/api-keys /settings /sessions /audit-log"
    )
    return {
        **{route: [route] for route in alone.split()},
        "/applications/:id": [f"/applications/{seeded.application}"],
        "/deployments/:id": [f"/deployments/{seeded.waiting}", f"/deployments/{seeded.failed}?stage=stage-1"],
        "/chains/:id": [f"/chains/{seeded.chain}"],
        "/compare": [f"/compare?from={seeded.failed}&to=first-of-chain"],
        "/login": ["/login"],
        "*": ["/no-such-page"],
    }


def test_every_page_of_the_console_is_checked() -> None:
    """A new page is added to `addresses_by_route`."""
    routes = re.findall(r'path: "([^"]+)",\s+lazy:', ROUTES.read_text())
    checked = addresses_by_route(Pages(application="a", waiting="w", failed="f", chain="c"))
    assert sorted(routes) == sorted(checked)


async def test_axe_finds_nothing_on_any_page_and_its_layout_is_sound(
    user: BrowserUser, w: World, agent: Client
) -> None:
    """Neither too little contrast, nor controls without a name, nor wrong roles, nor parts that overlap.

    The pages have the content of `extremes.py` beside ordinary content. Dark pages have the same elements as
    light ones, so only the rules about colours are checked again.
    """
    page = user.page
    # What fades in has too little contrast for a moment, and would be checked again.
    await page.emulate_media(reduced_motion="reduce")
    await w.console.call("UpdatePipedDesiredVersion", version="v9.9.9", piped_ids=[w.piped_id])
    seeded = await seed_pages(w, agent)
    for path in chain.from_iterable(addresses_by_route(seeded).values()):
        await page.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
        await page.emulate_media(color_scheme="light")
        await user.go(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await expect(page.get_by_role("status", name=re.compile("^Loading"))).to_have_count(0)
        if seeded.application in path:
            await expect(page.get_by_role("button", name="12 × Pod, 12 healthy")).to_be_visible()
        await expect_light(page)
        await expect_no_findings(page)
        await page.emulate_media(color_scheme="dark")
        await expect_dark(page)
        await expect_no_findings(page, COLOUR_RULES)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": HEIGHT})
            await expect_sound_layout(page)
    user.errors[:] = [error for error in user.errors if "SeeResource" not in error]


LAYOUTS: Sequence[tuple[str, list[str]]] = (
    ("<p>first</p><p>second</p><a href='/'>a link</a>", []),
    ("<div style='width: 2000px'>wide</div>", ["the page is 2008 px wide"]),
    (
        "<div style='overflow: hidden'><button style='margin-left: 1200px; width: 300px'>Save</button></div>",
        ['button "Save" is off screen'],
    ),
    ("<div style='overflow: auto'><button style='margin-left: 1200px; width: 300px'>Save</button></div>", []),
    (
        "<button>Save</button><button aria-label='Cancel' style='margin-left: -20px; padding: 10px'>",
        ['button "Save" and button "Cancel" overlap'],
    ),
    ("<p>first</p><p style='margin-top: -30px'>second</p>", ['the texts p "first" and p "second" overlap']),
    (
        "<p style='width: 40px; overflow: hidden; white-space: nowrap'>a long name</p>",
        ['p "a long name" is cut off'],
    ),
    (
        "<p style='width: 40px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis'>a name</p>",
        [],
    ),
    ("<p style='height: 12px; overflow: hidden'>half</p>", ['p "half" is cut off below']),
    (
        "<p style='width: 40px; overflow-wrap: anywhere'>configuration</p>",
        ['the word "configuration" is broken'],
    ),
    (
        "<p style='width: 40px; overflow-wrap: anywhere'>https://registry/checkout:v2</p>",
        ['the word "registry" is broken', 'the word "checkout" is broken'],
    ),
    (
        "<section><h2>Roles</h2><table style='margin-left: -8px'><tr><th>Role</th></tr></table></section>",
        ['th "Role" is not in line with h2 "Roles"'],
    ),
    (
        "<div style='width: 100px; overflow: hidden'><p style='width: 300px'>long words to read</p></div>",
        ['p "long words to read" is cut off by what contains it'],
    ),
)


async def test_each_rule_of_the_layout_finds_its_fault(browser: Browser) -> None:
    """A page without a font of its own breaks the last rule."""
    page = await browser.new_page(viewport={"width": 1280, "height": 720})
    try:
        for body, faults in LAYOUTS:
            await page.set_content(f"<body style='margin: 8px'>{body}")
            *found, font = await find_faults(page)
            assert (found, font.split(" is ")[-1]) == (faults, "not loaded"), body
        await page.set_viewport_size({"width": 390, "height": 720})
        await page.set_content("<button style='height: 20px; font-size: 10px'>Save</button>")
        assert (await find_faults(page))[:-1] == ['button "Save" is smaller than 24 px']
    finally:
        await page.close()

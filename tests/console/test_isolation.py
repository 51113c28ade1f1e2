"""The tests of a worker share a browser context: a user finds nothing that the user before left."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.browser import SharedContext, open_console
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
#: Changes of a context that it keeps until it ends.
PERMANENT = re.compile(r"\.add_init_script\(|\.expose_binding\(|\.expose_function\(|\.clock\.")
LEAVE_TRACES = """async () => {
  for (const storage of [localStorage, sessionStorage]) storage.setItem("left", "behind");
  document.cookie = "left=behind";
  await (await caches.open("left")).put("/left", new Response("behind"));
  await new Promise((resolve, reject) => {
    const request = indexedDB.open("left");
    request.onsuccess = resolve;
    request.onerror = reject;
  });
}"""
FIND_TRACES = """async () => ({
  local: { ...localStorage },
  session: { ...sessionStorage },
  cookies: document.cookie,
  caches: await caches.keys(),
  databases: await indexedDB.databases(),
  camera: (await navigator.permissions.query({ name: "camera" })).state,
  online: navigator.onLine,
  pages: window.length,
  width: window.innerWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
})"""
#: By address, how many bytes the server sent.
SCRIPTS = """() => Object.fromEntries(performance.getEntriesByType("resource")
  .filter(({ name }) => name.endsWith(".js")).map(({ name, transferSize }) => [name, transferSize]))"""


async def find_traces(page: Page) -> object:
    await expect(page).to_have_url(re.compile("/login"))
    return await page.evaluate(FIND_TRACES)


async def test_a_user_finds_nothing_of_the_one_before_except_loaded_scripts(
    browser: Browser, shared_context: SharedContext, w: World
) -> None:
    async with open_console(browser, w.plane.url) as newcomer:
        await newcomer.go("/")
        untouched = await find_traces(newcomer.page)

    async with shared_context.open(w.plane.url) as first:
        page, context = first.page, first.page.context
        await first.has_roles(w.plane, "Admin")
        await first.go("/")
        await expect(page.get_by_role("heading", name="Applications", level=1)).to_be_visible()
        loaded = await page.evaluate(SCRIPTS)
        await page.evaluate(LEAVE_TRACES)
        await context.grant_permissions(["camera"])
        await page.set_viewport_size({"width": 500, "height": 500})
        await page.emulate_media(color_scheme="dark")
        await (await context.new_page()).goto(f"{w.plane.url}/deployments")
        assert await page.evaluate(FIND_TRACES) != untouched
        await context.route("**/*", lambda route: route.abort())
        await context.set_offline(True)
        first.errors.clear()

    async with shared_context.open(w.plane.url) as second:
        await second.go("/")
        assert await find_traces(second.page) == untouched
        scripts = await second.page.evaluate(SCRIPTS)
        sent = {scripts[name] for name in loaded.keys() & scripts.keys()}
        assert sent == {0}, "what the first user loaded is kept"


def test_a_context_is_changed_for_good_only_by_tests_with_one_of_their_own() -> None:
    for file in Path(__file__).parent.glob("test_*.py"):
        source = file.read_text()
        if PERMANENT.search(source) and file != Path(__file__):
            assert "open_console(" in source, f"{file.name} must use open_console"

"""The console in Chromium: 10,000 applications, a tree of 1,500 resources, a log of 200,000 lines, changes.

Times are measured in the page: from the begin of the navigation, or from the input, until the frame in which
the result is there. Control plane, browser and benchmark share the machine: with other work on it, only the
CPU time, the calls, the bytes and the layout shift can be compared. BENCH_RUNS is the number of runs (20).
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, Locator, Page, Response

from bench.console_changes import (
    CHANGES,
    LINES_PER_SECOND,
    RUNNING_DEPLOYMENT,
    RUNNING_STAGE,
    changing_applications,
    growing_log,
)
from bench.console_records import (
    APPLICATIONS,
    FIRST_ERROR,
    INVALID_SHARE,
    LINES,
    LONG_LOG,
    RESOURCES,
    TREE,
    application_name,
    insert_project,
)
from bench.figures import report, report_value
from pipecd.client import PipedToken
from tests.console.browser import launch_browser
from tests.controlplane.server_fixture import Console, ControlPlane, control_plane

RUNS = int(os.environ.get("BENCH_RUNS", "20"))
#: What web.dev calls good: first contentful paint, all content, and answer to an input (ms); layout shift.
FIRST_PAINT, CONTENT, INPUT, SHIFT = 1_800.0, 2_500.0, 200.0, 0.1
#: Of JavaScript for the first page, gzipped (kB).
JAVASCRIPT = 390.0
#: The search waits so long for another key (ms).
SEARCH_PAUSE = 250.0
#: How often a list that changes all the time is read (per second).
LIST_READS = 1.3
#: Between frames while scrolling (ms): 20 frames a second.
FRAME = 50.0
#: While the project changes all the time (seconds).
_WATCHED = 10
#: For requests that follow the first ones (seconds).
_SETTLE = 1.5
#: After which the benchmark fails (seconds).
_LIMIT = 120.0

_OBSERVE = """() => {
  window.measured = { input: undefined, shift: 0 };
  for (const type of ["pointerdown", "keydown"]) {
    addEventListener(type, (event) => { measured.input = event.timeStamp; }, true);
  }
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) measured.shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""
_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
#: Bytes of JavaScript, as transferred.
_JAVASCRIPT = """() => performance.getEntriesByType("resource")
  .filter(({ name }) => name.endsWith(".js"))
  .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""
#: The time between frames, while a log is scrolled down from its beginning by `pixels` a frame, or by none.
_FRAMES = """([seconds, pixels]) => new Promise((resolve) => {
  const log = document.querySelector("[role=log]");
  if (pixels) log.scrollTop = 0;
  const frames = [];
  let last = performance.now();
  const end = last + seconds * 1000;
  const step = (now) => {
    frames.push(now - last);
    last = now;
    if (pixels) log.scrollTop += pixels;
    if (now < end) requestAnimationFrame(step); else resolve(frames.slice(2));
  };
  requestAnimationFrame(step);
})"""
#: 25 lines of a log.
_PIXELS = 500
_ROWS = "table[aria-label=Applications] tbody tr"
_LINE = "[role=log] [data-index]"


def _has(selector: str, text: str = "") -> str:
    """An expression: whether an element with the selector contains `text`."""
    return f"[...document.querySelectorAll({selector!r})].some((e) => e.textContent.includes({text!r}))"


def _has_rows(count: int) -> str:
    return f"document.querySelectorAll({_ROWS!r}).length === {count}"


_FIRST_PAGE = " && ".join(
    [
        _has(_ROWS),
        _has("nav[aria-label=Pagination]", f"{APPLICATIONS} applications"),
        _has("[aria-label='Applications by sync status'] button", str(APPLICATIONS)),
    ]
)


@dataclass
class _Visit:
    page: Page
    base: str
    chromium: CDPSession
    #: Calls by method, since the page was opened.
    calls: Counter[str] = field(default_factory=Counter)

    async def go(self, path: str, condition: str) -> float:
        """Milliseconds from the navigation until the condition holds."""
        await self.page.goto(f"{self.base}{path}", wait_until="commit")
        return await self._until(condition, "0")

    async def answer(self, act: Callable[[], Awaitable[object]], condition: str) -> float:
        """Milliseconds from the input of `act` until the condition holds."""
        await self.page.evaluate("() => { measured.input = undefined; }")
        shown = asyncio.create_task(self._until(condition, "measured.input"))
        await act()
        return await shown

    async def _until(self, condition: str, begun: str) -> float:
        function = f"""() => new Promise((resolve) => {{
          const check = () => requestAnimationFrame(
            {begun} !== undefined && {condition} ? () => resolve(performance.now() - {begun}) : check);
          check();
        }})"""
        async with asyncio.timeout(_LIMIT):
            return float(await self.page.evaluate(function))

    async def busy(self) -> float:
        """Milliseconds of CPU time of the page's own thread, since the navigation."""
        metrics = (await self.chromium.send("Performance.getMetrics"))["metrics"]
        return 1000 * next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


async def run(folder: Path) -> None:
    async with control_plane(folder) as plane:
        token = await insert_project(plane)
        session = await _sign_in(plane)
        async with launch_browser() as browser:
            await _measure_first_page(browser, plane, session)
            async with _visit(browser, plane, session) as visit:
                await _measure_lists(visit)
                await _measure_tree(visit)
                await _measure_log(visit)
                await _measure_changes(visit, plane, token)
                await _measure_growing_log(visit, plane, token)


async def _sign_in(plane: ControlPlane) -> list[Any]:
    console = Console(plane.url)
    async with console.http:
        await console.sign_in()
        return [
            {"name": cookie.name, "value": cookie.value, "url": plane.url, "httpOnly": True}
            for cookie in console.http.cookies.jar
        ]


@asynccontextmanager
async def _visit(browser: Browser, plane: ControlPlane, session: Sequence[Any]) -> AsyncIterator[_Visit]:
    """With an empty cache."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(120_000)
    await context.add_cookies(session)
    await context.add_init_script(f"({_OBSERVE})()")
    try:
        page = await context.new_page()
        chromium = await context.new_cdp_session(page)
        await chromium.send("Performance.enable", {"timeDomain": "threadTicks"})
        visit = _Visit(page, plane.url, chromium)

        def count(response: Response) -> None:
            if "/api/" in response.url:
                visit.calls[response.url.rsplit("/", 1)[-1]] += 1

        page.on("response", count)
        yield visit
    finally:
        await context.close()


async def _measure_first_page(browser: Browser, plane: ControlPlane, session: Sequence[Any]) -> None:
    paints, shown, busy, shifts = [], [], [], []
    for _ in range(RUNS):
        async with _visit(browser, plane, session) as visit:
            shown.append(await visit.go("/applications", _FIRST_PAGE))
            busy.append(await visit.busy())
            paints.append(float(await visit.page.evaluate(_PAINT)))
            await asyncio.sleep(_SETTLE)
            shifts.append(float(await visit.page.evaluate("() => measured.shift")))
            size = float(await visit.page.evaluate(_JAVASCRIPT)) / 1000
            calls = visit.calls
    name = f"{APPLICATIONS:,} applications"
    report(f"{name}: first contentful paint", paints, "ms", target=FIRST_PAINT)
    report(f"{name}: list, counters and total shown", shown, "ms", target=CONTENT)
    report("… CPU time of the page's thread", busy, "ms")
    report("… layout shift", shifts, "", target=SHIFT)
    report_value("… calls", calls.total(), "", digits=0)
    for method, count in calls.most_common():
        report_value(f"… … {method}", count, "", digits=0)
    report_value("… JavaScript as transferred", size, "kB", maximum=JAVASCRIPT)


async def _measure_lists(visit: _Visit) -> None:
    again, following, searches, statuses, deployments = [], [], [], [], []
    page = visit.page
    for number in range(RUNS):
        again.append(await visit.go("/applications", _FIRST_PAGE))
        await asyncio.sleep(_SETTLE)
        first = await page.locator(f"{_ROWS} a").first.inner_text()
        is_next = f"{_has(_ROWS)} && !{_has(f'{_ROWS} a', first)}"
        following.append(
            await visit.answer(page.get_by_role("button", name="Next", exact=True).click, is_next)
        )
        search = page.get_by_role("searchbox").first
        wanted = application_name(APPLICATIONS // 8 + number)
        searches.append(await _search(visit, search, wanted, _has_rows(1)))
        await visit.go("/applications", _FIRST_PAGE)
        await asyncio.sleep(_SETTLE)
        invalid = _has_rows(APPLICATIONS // INVALID_SHARE)
        statuses.append(await visit.answer(page.get_by_role("button", name="Invalid").click, invalid))
        link = page.get_by_role("link", name="Deployments", exact=True)
        deployments.append(await visit.answer(link.click, _has("main li a[href^='/deployments/']")))
    name = f"{APPLICATIONS:,} applications"
    report(f"{name}: the same, second visit", again, "ms", target=CONTENT)
    report(f"{name}: next page → its list", following, "ms", target=INPUT)
    report(f"{name}: last key of a search → result", searches, "ms", target=SEARCH_PAUSE + INPUT)
    report(f"{name}: a status → its list", statuses, "ms", target=INPUT)
    report("link to the deployments → list", deployments, "ms", target=INPUT)


async def _search(visit: _Visit, field: Locator, text: str, condition: str) -> float:
    """Milliseconds from the last key until the condition holds."""
    await field.fill(text[:-1])
    return await visit.answer(partial(field.press, text[-1]), condition)


async def _measure_tree(visit: _Visit) -> None:
    shown, expanded, expanding, found, busy = [], [], [], [], []
    page = visit.page
    tree = _has(".react-flow__node", "service-7")
    for number in range(RUNS):
        shown.append(await visit.go(f"/applications/{TREE}?view=tree", tree))
        busy.append(await visit.busy())
        await asyncio.sleep(_SETTLE)
        before = await visit.busy()
        everything = page.get_by_role("button", name="Expand all")
        expanded.append(await visit.answer(everything.click, _has(".react-flow__minimap")))
        expanding.append(await visit.busy() - before)
        await page.get_by_role("button", name="Collapse all").click()
        search = page.get_by_label("Find a resource")
        found.append(
            await _search(visit, search, f"service-{20 + number}-6f7d-", _has("[role=status]", "match"))
        )
    name = f"{RESOURCES:,} resources"
    report(f"{name}: tree shown", shown, "ms", target=CONTENT)
    report("… CPU time of the page's thread", busy, "ms")
    report(f"{name}: expand all", expanded, "ms")
    report("… CPU time of the page's thread", expanding, "ms")
    report(f"{name}: last key of a search → result", found, "ms", target=SEARCH_PAUSE + INPUT)


async def _measure_log(visit: _Visit) -> None:
    complete, ends, errors, searches, busy = [], [], [], [], []
    page, lines = visit.page, f"{LINES:,} lines"
    frames: list[float] = []
    for number in range(RUNS):
        complete.append(await visit.go(f"/deployments/{LONG_LOG}", _has("main p", lines)))
        busy.append(await visit.busy())
        end = page.get_by_role("button", name="Jump to end")
        ends.append(await visit.answer(end.click, _has(_LINE, f"request {LINES} ")))
        error = page.get_by_role("button", name="First error")
        errors.append(await visit.answer(error.click, _has(_LINE, f"request {FIRST_ERROR} ")))
        wanted = f"request {77_777 + number}"
        searches.append(await _search(visit, page.get_by_label("Search log"), wanted, _has(_LINE, wanted)))
        await page.get_by_label("Search log").fill("")
        frames += await page.evaluate(_FRAMES, [2, _PIXELS])
    name = f"log of {lines}"
    report(f"{name}: opened → complete", complete, "ms")
    report("… CPU time of the page's thread", busy, "ms")
    report(f"{name}: jump to its end", ends, "ms", target=INPUT)
    report(f"{name}: jump to the first error", errors, "ms", target=INPUT)
    report(f"{name}: last key of a search → found line", searches, "ms", target=INPUT)
    report(f"{name}: between frames while scrolling", frames, "ms", target=FRAME)


async def _measure_changes(visit: _Visit, plane: ControlPlane, token: PipedToken) -> None:
    await visit.go("/applications", _FIRST_PAGE)
    await asyncio.sleep(_SETTLE)
    async with changing_applications(plane, token):
        await asyncio.sleep(_SETTLE)
        visit.calls.clear()
        before = await visit.busy()
        await asyncio.sleep(_WATCHED)
        busy, calls = await visit.busy() - before, visit.calls.copy()
    name = f"{APPLICATIONS:,} applications, {CHANGES} changes a second"
    report_value(
        f"{name}: list read", calls["PageApplications"] / _WATCHED, "/s", maximum=LIST_READS, digits=2
    )
    report_value("… all calls", calls.total() / _WATCHED, "/s", digits=2)
    report_value("… CPU time of the page's thread", busy / _WATCHED, "ms/s")


async def _measure_growing_log(visit: _Visit, plane: ControlPlane, token: PipedToken) -> None:
    async with growing_log(plane, token):
        log = f"/deployments/{RUNNING_DEPLOYMENT}?stage={RUNNING_STAGE}"
        await visit.go(log, _has(_LINE, "of the canary"))
        await asyncio.sleep(_SETTLE)
        visit.calls.clear()
        before = await visit.busy()
        frames = await visit.page.evaluate(_FRAMES, [_WATCHED, 0])
        busy, calls = await visit.busy() - before, visit.calls.copy()
    report(f"log with {LINES_PER_SECOND} new lines a second: between frames", frames, "ms", target=FRAME)
    report_value("… log read", calls["SeeStageLog"] / _WATCHED, "/s", digits=2)
    report_value("… CPU time of the page's thread", busy / _WATCHED, "ms/s")

"""What axe-core finds on a page: too little contrast, controls without a name, wrong roles. And what Chromium
tells a screen reader about tables, which axe-core does not check."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.eventually import eventually

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
#: The rules that depend on colours.
COLOUR_RULES = ("color-contrast", "link-in-text-block")
#: Given a CSS selector and axe-core's options: the rule, and the first element that breaks it.
_FINDINGS = """async ([selector, options]) =>
  (await axe.run(selector, { resultTypes: ["violations"], ...options })).violations
    .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`)"""


async def expect_no_findings(
    page: Page, rules: Sequence[str] = (), *, within: str = "html", ignored: Sequence[str] = ()
) -> None:
    """Of all rules but the `ignored` ones, or of those given, in the element with a CSS selector."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make install`")
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    options: dict[str, Any] = {"rules": {rule: {"enabled": False} for rule in ignored}}
    if rules:
        options["runOnly"] = list(rules)

    async def nothing_is_found() -> bool:
        """Retried, since elements that fade in have too little contrast for a moment."""
        assert await page.evaluate(_FINDINGS, [within, options]) == [], page.url
        return True

    await eventually(nothing_is_found)


#: By the role that they should have: how many elements of tables there are that are not hidden.
_ELEMENTS_OF_TABLES = """() => Object.fromEntries(Object.entries({
  table: "table", row: "tr", cell: "td",
  columnheader: "th:not([scope=row])", rowheader: "th[scope=row]",
}).map(([role, selector]) =>
  [role, [...document.querySelectorAll(selector)].filter((found) => found.checkVisibility()).length]))"""


async def expect_tables_exposed(page: Page) -> None:
    """All rows, headers and cells are in Chromium's accessibility tree, whatever CSS does with them."""
    session = await page.context.new_cdp_session(page)
    try:

        async def all_are_exposed() -> bool:
            """Retried, since a list may change between the two calls."""
            expected = await page.evaluate(_ELEMENTS_OF_TABLES)
            nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
            roles = Counter(node["role"]["value"] for node in nodes if not node["ignored"])
            exposed = {role: roles[role] for role in expected}
            assert exposed == expected, f"{page.url}: {exposed} of {expected}"
            return True

        await eventually(all_are_exposed)
    finally:
        await session.detach()

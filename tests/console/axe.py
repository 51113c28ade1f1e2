"""What axe-core finds on a page: too little contrast, controls without a name, wrong roles."""

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

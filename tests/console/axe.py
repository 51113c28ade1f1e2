"""What axe-core finds on a page: too little contrast, controls without a name, wrong roles."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.eventually import eventually

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
#: The rules that depend on colours.
COLOUR_RULES = ("color-contrast", "link-in-text-block")
#: Given axe-core's options: the rule, and the first element that breaks it.
_FINDINGS = """async (options) => (await axe.run(document, { resultTypes: ["violations"], ...options }))
  .violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`)"""


async def expect_no_findings(page: Page, rules: Sequence[str] = ()) -> None:
    """Of all rules unless some are given."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make install`")
    await page.evaluate(AXE.read_text())
    options = {"runOnly": list(rules)} if rules else {}

    async def nothing_is_found() -> bool:
        """Retried, since elements that fade in have too little contrast for a moment."""
        assert await page.evaluate(_FINDINGS, options) == [], page.url
        return True

    await eventually(nothing_is_found)

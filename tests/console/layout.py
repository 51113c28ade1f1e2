"""Rules for the layout of every page, at any width, whatever fonts and browser are installed.

See decision 78 for why pages are not compared with images.
"""

from pathlib import Path

from playwright.async_api import Page

from tests.eventually import eventually

_FIND_FAULTS = (Path(__file__).parent / "layout.js").read_text()


async def find_faults(page: Page) -> list[str]:
    """What breaks a rule of `layout.js`, in words."""
    return [str(fault) for fault in await page.evaluate(_FIND_FAULTS)]


async def expect_sound_layout(page: Page) -> None:
    """Retried, since parts of a page move until its data and fonts are loaded."""

    async def nothing_is_found() -> bool:
        faults = await find_faults(page)
        assert not faults, f"{page.url} at {page.viewport_size}: {faults}"
        return True

    await eventually(nothing_is_found)

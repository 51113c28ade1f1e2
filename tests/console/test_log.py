"""The log of a deployment: one stage or all of them, links to lines, errors, search, and full screen."""

import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from pipecd.client import Client
from pipecd.schema.agent.logs_pb2 import ReportStageLogsRequest
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.stage_log_pb2 import ERROR, INFO, LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.actors import TESTER
from tests.console.browser import BrowserUser
from tests.console.seeds import build_deployment, report_repository
from tests.console.test_states import seed_deployments
from tests.eventually import eventually
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
LINES = 200_000
FIRST_ERROR = 150_000
#: Whether the log covers the window, and contains the focus.
COVERS_WINDOW = """() => {
  const dialog = document.querySelector("[role=dialog]");
  if (!dialog?.contains(document.activeElement)) return false;
  const { width, height } = dialog.getBoundingClientRect();
  return width >= window.innerWidth && height >= window.innerHeight;
}"""


def blocks(texts: Sequence[str], errors: Sequence[int] = ()) -> list[LogBlock]:
    return [
        LogBlock(index=number, log=text, severity=ERROR if number in errors else INFO, created_at=1)
        for number, text in enumerate(texts, start=1)
    ]


async def seed_failure(w: World, agent: Client, *, lines: int, first_error: int) -> Deployment:
    """A deployment whose second stage failed after `lines` lines, and that was rolled back."""
    await report_repository(agent)
    app = await w.register("shop", kind=TERRAFORM)
    now = int(time.time())
    deployment = build_deployment(w, app, "shop", at=now - 600)
    deployment.status, deployment.completed_at = DeploymentStatus.DEPLOYMENT_FAILURE, now
    for index, (name, status, rollback) in enumerate(
        (
            ("BUILD", StageStatus.STAGE_SUCCESS, False),
            ("CHECK", StageStatus.STAGE_FAILURE, False),
            ("RELEASE", StageStatus.STAGE_NOT_STARTED_YET, False),
            ("ROLLBACK", StageStatus.STAGE_SUCCESS, True),
        )
    ):
        deployment.stages.append(
            PipelineStage(
                id=name.lower(),
                name=name,
                index=index,
                visible=True,
                rollback=rollback,
                status=status,
                created_at=now,
                updated_at=now,
                completed_at=now,
                metadata={"pipecd/started-at": str(now - 75)},
            )
        )
    await w.plane.server.services.store.create(deployment, by=TESTER)
    logs = {
        "build": blocks(["plain words", "\x1b[31mred words\x1b[0m"]),
        "check": blocks([f"request {number}" for number in range(1, lines + 1)], (first_error, lines)),
        "rollback": blocks(["restored"]),
    }
    for stage, log in logs.items():
        await w.plane.server.services.logs.checkpoint(deployment, stage, 0, log, True)
    return deployment


async def test_a_long_log_is_complete_searched_and_linked(user: BrowserUser, w: World, agent: Client) -> None:
    """Only the rows that are visible are rendered. A link to a line scrolls to that line."""
    page = user.page
    deployment = await seed_failure(w, agent, lines=LINES, first_error=FIRST_ERROR)
    await user.go(f"/deployments/{deployment.id}")
    log = page.get_by_role("log")
    await expect(page.get_by_text(f"{LINES:,} lines", exact=True)).to_be_visible()
    await log.scroll_into_view_if_needed()
    await page.get_by_role("button", name="Jump to end").click()
    await expect(log.get_by_text(f"request {LINES}", exact=True)).to_be_in_viewport()
    await page.get_by_role("link", name="First error").click()
    await expect(log.get_by_text(f"request {FIRST_ERROR}", exact=True)).to_be_in_viewport()
    await page.get_by_role("button", name="Jump to end").click()
    await page.get_by_role("button", name="First error").click()
    await expect(log.get_by_text(f"request {FIRST_ERROR}", exact=True)).to_be_in_viewport()

    await page.get_by_label("Search log").fill("request 77777")
    await expect(page.get_by_text("1 of 1", exact=True)).to_be_visible()
    await log.get_by_role("link", name="Link to line 77777").click()
    await expect(page).to_have_url(re.compile("line=77777"))
    await page.reload()
    await expect(log.get_by_text("request 77777", exact=True)).to_be_in_viewport()
    assert await log.locator("*").count() < 2_000
    row = log.get_by_role("listitem").filter(has_text="request 77777")
    await expect(row).to_have_attribute("aria-posinset", "77777")
    await expect(row).to_have_attribute("aria-setsize", f"{LINES}")

    await user.go(f"/deployments/{deployment.id}?line={LINES + 1}")
    told = page.get_by_text(f"The log of CHECK has no line {LINES + 1}. Its end is shown.")
    await expect(told).to_be_visible()
    await expect(log.get_by_text(f"request {LINES}", exact=True)).to_be_in_viewport()


async def test_the_log_of_all_stages_has_a_foldable_step_for_each(
    user: BrowserUser, w: World, agent: Client
) -> None:
    """What failed is unfolded. A link to a line of a folded step unfolds it."""
    page = user.page
    deployment = await seed_failure(w, agent, lines=3000, first_error=2000)
    await user.go(f"/deployments/{deployment.id}")
    await page.get_by_text("All stages", exact=True).click()
    log = page.get_by_role("log", name="Log of all stages")
    steps = log.get_by_role("button")
    check = log.get_by_role("button", name="CHECK")
    await expect(check).to_have_attribute("aria-expanded", "true")
    await expect(check).to_have_text(re.compile("Failed.*CHECK.*3,000 lines.*1 min 15 s"))
    await expect(log.get_by_text("request 1", exact=True)).to_be_visible()
    await check.click()
    await expect(steps).to_have_text(
        [
            re.compile("BUILD.*2 lines"),
            re.compile("CHECK"),
            re.compile("RELEASE"),
            re.compile("ROLLBACK.*1 line"),
        ]
    )

    build = log.get_by_role("button", name="BUILD")
    await expect(build).to_have_attribute("aria-expanded", "false")
    await build.click()
    red = log.locator(".ansi-red", has_text="red words")
    await expect(red).to_be_visible()
    plain = await log.evaluate("log => getComputedStyle(log).color")
    assert await red.evaluate("red => getComputedStyle(red).color") != plain
    assert "[31m" not in await log.inner_text()
    await log.get_by_role("link", name="Link to line 2").click()
    await expect(page).to_have_url(re.compile("log=all.*stage=build.*line=2"))
    await page.reload()
    await expect(build).to_have_attribute("aria-expanded", "true")
    await expect(red).to_be_in_viewport()

    await page.get_by_role("button", name="Fold all").click()
    await expect(red).to_have_count(0)
    await page.get_by_role("button", name="First error").click()
    await expect(log.get_by_text("request 2000", exact=True)).to_be_in_viewport()
    await expect(check).to_be_in_viewport()
    await page.get_by_label("Pipeline stages").get_by_role("button", name="ROLLBACK").click()
    await expect(log.get_by_text("restored", exact=True)).to_be_in_viewport()
    await check_copies(page)
    await check_full_screen(page)


async def check_copies(page: Page) -> None:
    """What is copied has no colour codes; what is downloaded also has the times."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy log").click()

    async def is_copied() -> bool:
        copied = str(await page.evaluate("navigator.clipboard.readText()"))
        assert copied.startswith("=== BUILD ===\nplain words\nred words\n\n=== CHECK ===\nrequest 1\n")
        assert copied.endswith("request 3000\n\n=== ROLLBACK ===\nrestored")
        return True

    await eventually(is_copied)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download log").click()
    file = await download.value
    assert file.suggested_filename == "deployment-of-shop.log"
    text = Path(await file.path()).read_text()
    assert "\n1970-01-01T00:00:01.000Z red words\n" in text
    assert text.endswith("=== ROLLBACK ===\n1970-01-01T00:00:01.000Z restored\n")


async def test_a_running_log_is_followed_until_a_user_scrolls_up(
    user: BrowserUser, w: World, agent: Client
) -> None:
    page = user.page
    waiting, _ = await seed_deployments(w, agent)

    async def write(first: int, last: int) -> None:
        lines = [
            LogBlock(index=number, log=f"line {number}", created_at=1) for number in range(first, last + 1)
        ]
        request = ReportStageLogsRequest(deployment_id=waiting, stage_id="WAIT_APPROVAL", blocks=lines)
        await agent.call(agent.piped.ReportStageLogs, request)

    await write(1, 100)
    await user.go(f"/deployments/{waiting}")
    log, follow = page.get_by_role("log"), page.get_by_role("button", name="Follow")

    async def shows(text: str) -> bool:
        # What loads later, such as the plan that waits for approval, moves the log down the page.
        await log.scroll_into_view_if_needed()
        await expect(log.get_by_text(text, exact=True)).to_be_in_viewport(timeout=1_000)
        return True

    await eventually(partial(shows, "line 100"))
    await expect(follow).to_have_attribute("aria-pressed", "true")
    await write(101, 200)
    await eventually(partial(shows, "line 200"))

    await log.hover()
    await page.mouse.wheel(0, -2000)
    await expect(follow).to_have_attribute("aria-pressed", "false")
    await write(201, 300)
    await expect(page.get_by_text("300 lines", exact=True)).to_be_visible()
    await expect(log.get_by_text("line 300", exact=True)).to_have_count(0)
    await follow.click()
    await eventually(partial(shows, "line 300"))
    await expect(follow).to_have_attribute("aria-pressed", "true")
    await follow.click()
    await expect(follow).to_have_attribute("aria-pressed", "false")


async def check_full_screen(page: Page) -> None:
    await page.get_by_role("button", name="Full screen").click()
    dialog = page.get_by_role("dialog", name="Log of shop")
    # Once it is rendered, and has the focus.
    await page.wait_for_function(COVERS_WINDOW)
    for _ in range(20):
        await page.keyboard.press("Tab")
        assert await dialog.evaluate("dialog => dialog.contains(document.activeElement)")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.get_by_role("button", name="Full screen")).to_be_visible()

"""The console in a real Chromium, with a real control plane, agent and Git remote.

Pages are never reloaded: they must update on their own.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from playwright.async_api import expect

from pipecd.schema.model.api_key_pb2 import APIKey
from tests.console.browser import BrowserUser, SharedContext
from tests.eventually import eventually
from tests.ports import free_ports
from tests.world import REPOSITORY, World, pipeline, terraform, world

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def test_login_shows_errors_and_redirects_to_the_requested_page(guest: BrowserUser, w: World) -> None:
    # Without transitions, a menu that closed at once would remove the form that logs out.
    await guest.page.emulate_media(reduced_motion="reduce")
    await guest.go("/pipeds")
    await expect(guest.page).to_have_url(re.compile("/login"))
    await guest.sign_in("not the password")
    await expect(guest.page.get_by_role("alert")).to_contain_text("wrong")
    await guest.sign_in()
    await expect(guest.page.get_by_role("heading", name="Pipeds", level=1)).to_be_visible()
    await guest.page.get_by_role("button", name="Signed in as").click()
    await guest.page.get_by_role("menuitem", name="Sign out").click()
    await expect(guest.page).to_have_url(re.compile("/login"))
    await expect(guest.page.get_by_role("status")).to_have_text("You are signed out.")
    await guest.go("/pipeds")
    await expect(guest.page).to_have_url(re.compile("/login"))


async def test_an_empty_project_shows_what_to_do(user: BrowserUser) -> None:
    page = user.page
    await user.go("/")
    await expect(page.get_by_role("main")).to_contain_text(re.compile("No application|no application"))
    await page.get_by_role("link", name="Deployments", exact=True).click()
    await expect(page.get_by_role("heading", name="No deployments yet")).to_be_visible()
    await page.get_by_role("link", name="Events", exact=True).click()
    await expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
    await page.get_by_role("link", name="API keys").click()
    await expect(page.get_by_role("heading", name="No API keys yet")).to_be_visible()
    await user.go("/nowhere")
    await expect(page.get_by_role("main")).to_contain_text(
        re.compile("not found|no such page", re.IGNORECASE)
    )


async def test_from_a_suggestion_to_an_approved_deployment(user: BrowserUser, w: World) -> None:
    """The main workflow: an application is suggested, added, planned, approved and deployed."""
    page = user.page
    file = pipeline(
        "echo one; echo a needle here; echo three",
        {"name": "WAIT_APPROVAL"},
        "echo after the approval",
        name="checkout",
        labels={"env": "prod"},
        planner={"alwaysUsePipeline": True},
    )
    await w.push(
        "Add checkout",
        {"checkout/app.pipecd.yaml": file, "checkout/main.tf": terraform(w.folder / "checkout.tfstate")},
    )
    async with w.agent():
        await user.go("/applications/add")
        await page.get_by_role("button", name="Add checkout").click()
        await expect(page.get_by_role("heading", name="checkout", level=1)).to_be_visible()
        await page.locator('main a[href^="/deployments/"]').first.click()
        stages = page.get_by_role("group", name="Pipeline stages")
        await expect(stages.get_by_role("button", name=re.compile("Succeeded.*SCRIPT_RUN"))).to_be_visible()
        approve = page.get_by_role("button", name="Approve", exact=True)
        await expect(approve).to_be_visible()

        await stages.get_by_role("button", name=re.compile("SCRIPT_RUN")).first.click()
        log = page.get_by_role("log")
        await expect(log).to_contain_text("a needle here")
        await page.get_by_label("Search log").fill("NEEDLE")
        await expect(page.get_by_text(re.compile(r"^1 of \d+$"))).to_be_visible()
        await log.get_by_role("link", name="Link to line 2").click()
        await expect(page).to_have_url(re.compile("stage=stage-0&line=2"))

        await stages.get_by_role("button", name=re.compile("WAIT_APPROVAL")).click()
        await approve.click()
        await page.get_by_label("Comment").fill("The plan is what I expect")
        await page.get_by_role("button", name="Approve deployment").click()
        made = page.get_by_role("list", name="Decisions")
        await expect(made).to_contain_text("Approved by hello")
        await expect(made).to_contain_text("The plan is what I expect")
        await expect(page.locator("header").get_by_text("Succeeded")).to_be_visible()
        await stages.get_by_role("button", name=re.compile("SCRIPT_RUN")).last.click()
        await expect(log).to_contain_text("after the approval")


async def test_a_failure_shows_its_first_error_and_its_rollback(user: BrowserUser, w: World) -> None:
    page = user.page
    async with w.agent():
        app = await w.add_application(
            "shop",
            {
                "app.pipecd.yaml": pipeline(
                    {"name": "SCRIPT_RUN", "with": {"run": "exit 3", "onRollback": "echo put back"}},
                    planner={"alwaysUsePipeline": True},
                    input={"autoRollback": True},
                )
            },
        )
        deployment = await w.wait_for_deployment(app)
        await user.go(f"/deployments/{deployment.id}")
        await expect(page.locator("header").get_by_text("Failed")).to_be_visible()
        await expect(page.get_by_role("alert").first).to_contain_text("exited with code 3")
        await page.get_by_role("button", name="First error").click()
        await expect(page.get_by_role("log")).to_contain_text("exited with code 3")
        stages = page.get_by_role("group", name="Pipeline stages")
        await stages.get_by_role("button", name=re.compile("SCRIPT_RUN_ROLLBACK")).click()
        await expect(page.get_by_role("log")).to_contain_text("put back")


async def test_a_deployment_is_cancelled(user: BrowserUser, w: World) -> None:
    page = user.page
    async with w.agent():
        app_file = pipeline(
            {"name": "WAIT", "with": {"duration": "10m"}}, planner={"alwaysUsePipeline": True}
        )
        app = await w.add_application("shop", {"app.pipecd.yaml": app_file})
        await user.go(f"/applications/{app}")
        await page.locator('main a[href^="/deployments/"]').first.click()
        await expect(page.locator("header").get_by_text("Running")).to_be_visible()
        await page.get_by_role("button", name="Cancel options").click()
        await page.get_by_role("menuitem", name=re.compile("Cancel without rollback")).click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel without rollback").click()
        await expect(page.locator("header").get_by_text("Cancelled")).to_be_visible()


async def test_a_configuration_error_is_shown_until_it_is_fixed(user: BrowserUser, w: World) -> None:
    page = user.page
    async with w.agent():
        valid = pipeline("true", planner={"alwaysUsePipeline": True})
        app = await w.add_application("shop", {"app.pipecd.yaml": valid})
        await w.wait_for_deployment(app)
        await user.go(f"/applications/{app}")
        await expect(page.locator("header").get_by_text("Synced")).to_be_visible()
        await w.push(
            "Break the configuration", {"shop/app.pipecd.yaml": valid.replace("SCRIPT_RUN", "SCRIPT_RUM")}
        )
        alert = page.get_by_role("alert").filter(has_text="Invalid configuration")
        await expect(alert).to_contain_text("app.pipecd.yaml:")
        await expect(alert).to_contain_text("SCRIPT_RUM")
        await w.push("Fix the configuration", {"shop/app.pipecd.yaml": valid})
        await expect(alert).to_have_count(0)


async def test_filters_are_stored_in_the_url(user: BrowserUser, w: World) -> None:
    page = user.page
    async with w.agent():
        for name in ("shop", "bank"):
            await w.add_application(name, {"app.pipecd.yaml": pipeline("true", name=name)})
        await user.go("/applications")
        await expect(page.get_by_role("link", name="bank", exact=True)).to_be_visible()
        await page.get_by_label("Search by name or label").fill("sho")
        await expect(page).to_have_url(re.compile("q=sho"))
        await expect(page.get_by_role("link", name="bank", exact=True)).to_have_count(0)
        await expect(page.get_by_role("link", name="shop", exact=True)).to_be_visible()
        await page.go_back()
        await page.goto(f"{user.base}/applications?q=nothing-like-it")
        await expect(page.get_by_role("button", name="Clear filters").first).to_be_visible()


async def test_the_shown_commands_start_an_agent_whose_application_is_added_with_two_clicks(
    shared_context: SharedContext, console_port: int, tmp_path: Path
) -> None:
    """As a new user does it: the key is shown once, and what the dialog shows is pasted into a shell."""
    (port,) = free_ports(1)
    async with (
        world(tmp_path, address="http://127.0.0.1", ports=(port, console_port)) as w,
        shared_context.open(w.plane.url) as user,
    ):
        files = {"shop/app.pipecd.yaml": pipeline("true"), "shop/main.tf": ""}
        await asyncio.to_thread(w.clone.commit_and_push, "Add an application", files)
        page = user.page
        await user.go("/pipeds?register")
        await user.sign_in()
        await page.get_by_label("Name").fill("production")
        await page.get_by_role("dialog").get_by_role("button", name="Register").click()
        dialog = page.get_by_role("dialog", name="Key for production")
        await dialog.get_by_label("Platform").select_option("TERRAFORM")
        await dialog.get_by_label("Git repository").fill(w.git.url(REPOSITORY))
        configuration = dialog.get_by_role("region", name="Piped configuration")
        await expect(configuration).to_contain_text(w.git.url(REPOSITORY))
        folder = pretended_clone(tmp_path)
        (folder / "piped.yaml").write_text(await configuration.inner_text())
        commands = await dialog.get_by_role("region", name="Commands for Shell").inner_text()
        await expect(dialog.get_by_role("status")).to_contain_text("Not connected yet")
        async with shell(commands, folder):
            await expect(dialog.get_by_role("status")).to_contain_text("Online")
            await expect(dialog.get_by_role("status")).to_contain_text("1 application found in Git")
            await dialog.get_by_role("link", name="Add application").click()
            await page.get_by_role("button", name="Add shop").click()
            await expect(page.get_by_role("heading", name="shop", level=1)).to_be_visible()
            await expect(page).to_have_url(re.compile("/applications/[0-9a-f-]+$"))
        await user.go("/pipeds")
        row = page.get_by_role("row").filter(has_text="production")
        await expect(row).to_contain_text("Offline")
        await page.get_by_role("button", name="Actions for production").click()
        await page.get_by_role("menuitem", name="Disable").click()
        await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        await expect(row).to_contain_text("Disabled")


def pretended_clone(folder: Path) -> Path:
    """A directory whose programs only pretend to build and install the package; test_packages does both."""
    clone = folder / "pipecd"
    programs = {
        "programs/make": '[ "$*" = package ] && mkdir dist && touch dist/pipecd-0.1.0-py3-none-any.whl',
        "programs/python3": '[ "$*" = "-m venv piped-venv" ]',
        "piped-venv/bin/pip": '[ "$*" = "install dist/pipecd-0.1.0-py3-none-any.whl[terraform]" ]',
        "piped-venv/bin/piped": f'exec {Path(sys.executable).parent}/piped "$@"',
    }
    for name, command in programs.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(f"#!/bin/sh\n{command}\n")
        (clone / name).chmod(0o755)
    return clone


@asynccontextmanager
async def shell(commands: str, folder: Path) -> AsyncIterator[None]:
    """A shell that runs `commands` in `folder`, until the block ends. Fails if one of them does."""
    (admin_port,) = free_ports(1)
    environment = {**os.environ, "HOME": str(folder), "PATH": f"{folder}/programs:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        # Another program of the machine may have the port of the admin page.
        *("sh", "-ec", commands.replace("--admin-port=9086", f"--admin-port={admin_port}")),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
        assert process.returncode is None, "the agent still runs"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


async def test_changes_by_other_users_appear_without_a_reload(user: BrowserUser, w: World) -> None:
    """Another user creates an API key, and an agent comes online."""
    page = user.page
    await user.go("/")
    await page.get_by_role("link", name="API keys").click()
    await expect(page.get_by_role("heading", name="No API keys yet")).to_be_visible()
    await w.console.call("GenerateAPIKey", name="from elsewhere", role=APIKey.READ_ONLY)
    await expect(page.get_by_role("cell", name="from elsewhere")).to_be_visible()
    await page.get_by_role("link", name="Pipeds").click()
    row = page.get_by_role("row").filter(has_text="home")
    await expect(row).to_contain_text("never")
    async with w.agent():
        await expect(page.get_by_text("Online")).to_be_visible()
        await expect(row).to_contain_text("started")
    await expect(page.get_by_text("Offline")).to_be_visible()


async def test_controls_have_accessible_names_and_are_reachable_by_keyboard(
    user: BrowserUser, w: World
) -> None:
    """Every button, link and field has a name for screen readers; Tab moves through the page."""
    page = user.page
    for path in ("/applications", "/applications/add", "/deployments", "/pipeds", "/api-keys"):
        await user.go(path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        unnamed = await page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input:not([type=hidden]), textarea')]
                .filter((element) => element.checkVisibility() && !element.closest('[aria-hidden=true]'))
                .filter((element) => !(element.ariaLabel || element.innerText?.trim() || element.title
                    || element.labels?.length || element.getAttribute('aria-labelledby')
                    || element.placeholder))
                .map((element) => element.outerHTML.slice(0, 120))"""
        )
        assert unnamed == [], path
    await user.go("/applications")
    await expect(page.get_by_role("heading", name="No applications yet")).to_be_visible()
    focused = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        name = "document.activeElement?.innerText?.trim() || document.activeElement?.ariaLabel"
        focused.add(await page.evaluate(name))
    assert {"Deployments", "Pipeds", "Add application"} <= focused


async def test_a_narrow_dark_screen_does_not_scroll_sideways(guest: BrowserUser, w: World) -> None:
    await guest.page.set_viewport_size({"width": 420, "height": 860})
    await guest.page.emulate_media(color_scheme="dark")
    await guest.go("/")
    await guest.sign_in()
    await expect(guest.page.get_by_role("heading", name="Applications", level=1)).to_be_visible()

    async def page_fits() -> bool:
        overflow = await guest.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 1, "the page scrolls sideways"
        return True

    await eventually(page_fits)

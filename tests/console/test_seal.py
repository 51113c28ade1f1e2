"""Sealing a secret in a real browser, for a real agent that can open it."""

import re
from pathlib import Path

import pytest
import yaml
from playwright.async_api import Page, expect

from pipecd.encryption import Opener
from tests import keys
from tests.console.browser import Visitor
from tests.world import World, pipeline

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
SECRET = "a secret\nof two lines"


async def ask_to_seal(somebody: Visitor, application_id: str) -> Page:
    await somebody.go(f"/applications/{application_id}")
    await somebody.page.get_by_role("button", name="More actions").click()
    await somebody.page.get_by_role("menuitem", name="Seal a secret").click()
    return somebody.page


async def test_what_the_page_seals_the_agent_can_open(somebody: Visitor, w: World, tmp_path: Path) -> None:
    management = keys.made(tmp_path)
    async with w.agent(secretManagement=management):
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        page = await ask_to_seal(somebody, app)
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("token")
        await dialog.get_by_label("Secret", exact=False).first.fill(SECRET)
        await dialog.get_by_role("button", name="Seal", exact=True).click()
        block = dialog.get_by_role("region", name="Sealed secret")
        await expect(block).to_contain_text("encryptedSecrets")
        await expect(dialog.get_by_role("textbox", name="Secret")).to_have_value("")
        said = yaml.safe_load(await block.inner_text())
    sealed = said["spec"]["encryption"]["encryptedSecrets"]["token"]
    assert Opener(Path(management["config"]["privateKeyFile"]).read_bytes()).open(sealed) == SECRET.encode()
    assert somebody.complaints == []


async def test_without_a_key_pair_the_page_says_what_to_do(somebody: Visitor, w: World) -> None:
    async with w.agent():
        app = await w.application("shop", {"app.pipecd.yaml": pipeline("true")})
        page = await ask_to_seal(somebody, app)
        await expect(page.get_by_role("dialog")).to_contain_text(re.compile("no key pair.*secretManagement"))

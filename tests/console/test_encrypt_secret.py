"""Encrypting a secret in a real browser, for a real agent that can decrypt it."""

import re
from pathlib import Path

import pytest
import yaml
from playwright.async_api import Page, expect

from pipecd.encryption import Decryptor
from tests import keys
from tests.console.browser import BrowserUser
from tests.world import World, pipeline

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
SECRET = "a secret\nof two lines"


async def open_encrypt_dialog(user: BrowserUser, application_id: str) -> Page:
    await user.go(f"/applications/{application_id}")
    await user.page.get_by_role("button", name="More actions").click()
    await user.page.get_by_role("menuitem", name="Encrypt secret").click()
    return user.page


async def test_the_agent_can_decrypt_what_the_page_encrypts(
    user: BrowserUser, w: World, tmp_path: Path
) -> None:
    management = keys.write_key_pair(tmp_path)
    async with w.agent(secretManagement=management):
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        page = await open_encrypt_dialog(user, app)
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("token")
        await dialog.get_by_label("Secret", exact=False).first.fill(SECRET)
        await dialog.get_by_role("button", name="Encrypt", exact=True).click()
        block = dialog.get_by_role("region", name="Encrypted secret")
        await expect(block).to_contain_text("encryptedSecrets")
        await expect(dialog.get_by_role("textbox", name="Secret")).to_have_value("")
        snippet = yaml.safe_load(await block.inner_text())
    encrypted = snippet["spec"]["encryption"]["encryptedSecrets"]["token"]
    assert (
        Decryptor(Path(management["config"]["privateKeyFile"]).read_bytes()).decrypt(encrypted)
        == SECRET.encode()
    )
    assert user.errors == []


async def test_without_a_key_pair_the_page_shows_what_to_do(user: BrowserUser, w: World) -> None:
    async with w.agent():
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        page = await open_encrypt_dialog(user, app)
        await expect(page.get_by_role("dialog")).to_contain_text(re.compile("no key pair.*secretManagement"))

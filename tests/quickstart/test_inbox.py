"""The inbox of the quickstart: shows only what was sent to it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.config.notifications import Webhook
from pipecd.errors import Refused
from pipecd.notify.message import Message, Tone
from pipecd.notify.sinks.webhook import open_webhook
from pipecd.quickstart.inbox import MAX_MESSAGES, Inbox

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def message(key: str = "d/DEPLOYMENT_FAILED", **changes: Any) -> Message:
    fields: dict[str, Any] = {
        "key": key,
        "event": "DEPLOYMENT_FAILED",
        "group": "DEPLOYMENT",
        "at": 1_700_000_000,
        "project": "quickstart",
        "piped": "p",
        "tone": Tone.ERROR,
        "title": "The deployment of <script>alert(1)</script> failed",
        "text": "quota & more {console}",
        "link": "http://localhost:8080/deployments/d",
    }
    return Message(**{**fields, **changes})


async def test_signed_messages_are_shown_once_and_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "inbox.json"
    with Inbox(file, KEY, console="http://localhost:8080") as inbox:

        def sender(key: str, url: str = inbox.url) -> Any:
            config = {"url": url, "signingKey": key, "format": "cloudevents"}
            return open_webhook(Webhook.model_validate(config), SYSTEM_CLOCK)

        async with httpx.AsyncClient(base_url=inbox.url, verify=False) as http:
            assert "Nothing was sent yet" in (await http.get("/")).text
            await sender(KEY)(message())
            await sender(KEY)(message())
            await sender(KEY)(message("d/2", link="javascript:alert(1)", title="Later"))
            with pytest.raises(Refused, match="401"):
                await sender("whsec_" + "A" * 32)(message("other"))
            for body, status in ((b"{", 401), (b"x" * 3_000_000, 413)):
                assert (await http.post("/", content=body)).status_code == status
            page = await http.get("/")
            # A site that resolves its name to this machine.
            assert (await http.get("/", headers={"Host": "evil.example.com"})).status_code == 403
            assert (await http.get("/other")).status_code == 404
        check_page(page)
        for number in range(MAX_MESSAGES):
            inbox.receive({"id": str(number), "data": {"title": f"number {number}"}})
    assert len(json.loads(file.read_text())) == MAX_MESSAGES
    again = Inbox(file, KEY, console="http://localhost:8080")
    assert f"number {MAX_MESSAGES - 1}" in again.render() and "Later" not in again.render()
    again._http.server_close()


def check_page(page: httpx.Response) -> None:
    text = page.text
    assert text.count('class="error"') == 2 and text.index("Later") < text.index("The deployment of")
    assert "&lt;script&gt;alert(1)" in text and "javascript:" not in text
    assert "quota &amp; more {console}" in text and 'href="http://localhost:8080/deployments/d"' in text
    assert "dev.pipecd.deployment.failed" in text and "2023-11-14T22:13:20Z" in text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")

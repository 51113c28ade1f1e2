"""The details of a resource in the console: what an agent answers, and the log of a container, followed."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.model.access import VIEWER
from pipecd.model.application import Application, GitPath
from pipecd.model.resource import Health, Resource
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateRequest
from pipecd.schema.model.kind_pb2 import KUBERNETES
from pipecd.schema.pipecd.v1.agent_pb2 import AgentChange, AgentWatchRequest, AnswerResourceRequestRequest
from pipecd.schema.pipecd.v1.details_pb2 import (
    Container,
    LogLine,
    ResourceDetails,
    ResourceEvent,
    ResourceRequest,
)
from pipecd.wire import snapshot_to
from tests.console.browser import BrowserUser
from tests.console.seeds import report_repository
from tests.controlplane.server_fixture import PROJECT
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

#: Where pictures of the drawer are stored, to be looked at; none by default.
PICTURES = os.environ.get("PICTURES", "")
LIVE = """apiVersion: v1
kind: Pod
metadata:
  name: web-7d4b
spec:
  containers:
  - name: web
    image: web:2
    env:
    - name: DB_PASSWORD
      value: (hidden)
status:
  phase: Running
"""
DETAILS = ResourceDetails(
    live=LIVE,
    git=LIVE.replace("web:2", "web:1").partition("status:")[0],
    commit="c0ffee" + "0" * 34,
    difference="@@ -4,3 +4,3 @@\n   name: web\n-  image: web:2\n+  image: web:1",
    events=[
        ResourceEvent(
            warning=True,
            reason="BackOff",
            message="Back-off restarting failed container web in pod web-7d4b",
            source="kubelet",
            count=4,
            last_at=int(time.time()) - 90,
        ),
        ResourceEvent(reason="Pulled", message="Container image is present", source="kubelet", last_at=1),
    ],
    containers=[
        Container(name="web", state="running", restarts=2),
        Container(name="migrate", state="terminated: Completed", init=True),
    ],
    notes=["Pod web-7d4b: changed by kubectl"],
)


class ScriptedAgent:
    """Answers requests for details, and writes the logs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.logs: asyncio.Queue[ResourceRequest] = asyncio.Queue()
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()

    async def run(self, connected: asyncio.Event) -> None:
        request = AgentWatchRequest(instance="scripted", answers_resource_requests=True)
        async with aclosing(self._client.stream(self._client.agent.Watch, request)) as stream:
            async for change in stream:
                match change.kind:
                    case AgentChange.LEASE_GRANTED:
                        connected.set()
                    case AgentChange.RESOURCE_REQUEST if change.resource_request.HasField("log"):
                        self.logs.put_nowait(change.resource_request)
                    case AgentChange.RESOURCE_REQUEST:
                        await self.answer(change.resource_request.id, details=DETAILS, done=True)
                    case AgentChange.RESOURCE_REQUEST_CANCELLED:
                        self.cancelled.put_nowait(change.id)

    async def answer(self, id: str, **fields: Any) -> None:
        part = AnswerResourceRequestRequest(id=id, **fields)
        await self._client.call(self._client.agent.AnswerResourceRequest, part)

    async def write(self, request: ResourceRequest, *texts: str, second: int = 0) -> None:
        lines = [
            LogLine(time=f"2026-11-27T12:00:{second + number:02d}.25Z", text=text)
            for number, text in enumerate(texts)
        ]
        await self.answer(request.id, lines=lines)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        connected = asyncio.Event()
        task = asyncio.create_task(self.run(connected))
        await connected.wait()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest_asyncio.fixture(loop_scope="session")
async def shop(w: World, agent: Client) -> str:
    """An application with one pod."""
    await report_repository(agent)
    app = await w.register("shop", kind=KUBERNETES)
    application = Application(
        id=app,
        name="shop",
        piped_id=w.piped_id,
        project_id=PROJECT,
        kind="KUBERNETES",
        git_path=GitPath(repo_id="app", path="shop"),
    )
    pod = Resource(
        id="uid", api_version="v1", kind="Pod", namespace="shop", name="web-7d4b", health=Health.HEALTHY
    )
    snapshot = snapshot_to(application, [pod], now=int(time.time()))
    await agent.call(
        agent.piped.ReportApplicationLiveState, ReportApplicationLiveStateRequest(snapshot=snapshot)
    )
    return app


async def picture(user: BrowserUser, name: str) -> None:
    if PICTURES:
        await user.page.wait_for_timeout(400)
        await user.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


async def test_the_drawer_shows_details_and_follows_a_log(
    user: BrowserUser, agent: Client, shop: str
) -> None:
    scripted, page = ScriptedAgent(agent), user.page
    async with scripted.connected():
        await user.go(f"/applications/{shop}")
        live = page.get_by_role("region", name="Live state")
        await live.get_by_role("button", name="web-7d4b Pod, Healthy").click()
        drawer = page.get_by_role("dialog")
        await expect(drawer.get_by_label("live manifest", exact=True)).to_contain_text("phase: Running")
        await expect(drawer).to_contain_text("Pod web-7d4b: changed by kubectl")
        await picture(user, "live")
        await drawer.get_by_role("tab", name="Git").click()
        await expect(drawer.get_by_label("manifest of Git", exact=True)).to_contain_text("image: web:1")
        await expect(drawer).to_contain_text("At commit c0ffee0")
        await drawer.get_by_role("tab", name="Difference").click()
        await expect(drawer.get_by_role("tabpanel")).to_contain_text("+  image: web:1")
        await picture(user, "difference")
        await drawer.get_by_role("tab", name="Events").click()
        await expect(drawer.get_by_role("row", name="BackOff")).to_contain_text("4 times")
        await picture(user, "events")

        await drawer.get_by_role("tab", name="Logs").click()
        first = await scripted.logs.get()
        assert (first.log.container, first.log.since) == ("web", "")
        await scripted.write(first, "listening on :8080", "GET /healthz 200")
        log = drawer.get_by_role("log")
        await expect(log).to_contain_text("GET /healthz 200")
        await scripted.write(first, *(f"GET /orders/{number} 200" for number in range(40)), second=5)
        await expect(log).to_contain_text("GET /orders/39 200")
        await picture(user, "logs")
        if PICTURES:
            await page.emulate_media(color_scheme="dark")
            await picture(user, "logs-dark")
            for name in ("Live", "Difference", "Events"):
                await drawer.get_by_role("tab", name=name).click()
                await picture(user, f"{name.lower()}-dark")
            await drawer.get_by_role("tab", name="Logs").click()
            await page.emulate_media(color_scheme="light")
            assert await scripted.cancelled.get() == first.id
            first = await scripted.logs.get()
            await scripted.write(first, "again", second=44)

    # The agent restarts: the log continues after its last line, and ends when the drawer is closed.
    user.errors[:] = [error for error in user.errors if "SeeResource" not in error and "Log" not in error]
    async with scripted.connected():
        continued = await scripted.logs.get()
        assert continued.log.since == "2026-11-27T12:00:44.25Z"
        await scripted.write(continued, "back again", second=50)
        await expect(log).to_contain_text("back again")
        await drawer.get_by_role("button", name="Close").click()
        assert await scripted.cancelled.get() == continued.id
    user.errors[:] = [error for error in user.errors if "SeeResource" not in error and "Log" not in error]


async def test_a_viewer_is_offered_no_log(guest: BrowserUser, w: World, agent: Client, shop: str) -> None:
    scripted = ScriptedAgent(agent)
    async with scripted.connected():
        await guest.has_roles(w.plane, VIEWER)
        await guest.go(f"/applications/{shop}")
        live = guest.page.get_by_role("region", name="Live state")
        await live.get_by_role("button", name="web-7d4b Pod, Healthy").click()
        drawer = guest.page.get_by_role("dialog")
        await expect(drawer.get_by_label("live manifest", exact=True)).to_contain_text("phase: Running")
        await expect(drawer.get_by_role("tab", name="Events")).to_be_visible()
        await expect(drawer.get_by_role("tab", name="Logs")).to_have_count(0)
        await picture(guest, "viewer")
        assert scripted.logs.empty()

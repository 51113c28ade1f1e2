"""The page of events: what each event watcher did with them."""

import time
from typing import Any

import pytest
from playwright.async_api import expect

from pipecd.schema.model.event_pb2 import Event, EventResult, EventStatus
from tests.actors import TESTER
from tests.console.axe import expect_no_findings
from tests.console.browser import BrowserUser
from tests.controlplane.server_fixture import PROJECT
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
COMMIT = "c0ffee1234567890"


def result(name: str, status: EventStatus.ValueType, **fields: Any) -> EventResult:
    return EventResult(
        piped_id="p", repo_id="shop", watcher=f"{name}/app.pipecd.yaml#0", name=name, status=status, **fields
    )


def event(number: int, status: EventStatus.ValueType, *results: EventResult, **fields: Any) -> Event:
    """Of the future: a job of the control plane ends those that no agent handles."""
    created_at = int(time.time()) + 3600 + number
    return Event(
        id=f"event-{number}",
        name=f"image-{number}",
        data=f"registry.example.com/shop:v1.{number}",
        project_id=PROJECT,
        labels={"app": "shop" if number % 2 else "web"},
        event_key="k",
        status=status,
        results=results,
        created_at=created_at,
        updated_at=created_at,
        **fields,
    )


async def test_events_show_what_each_watcher_did(user: BrowserUser, w: World) -> None:
    page, store = user.page, w.plane.server.services.store
    await user.go("/events")
    await expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
    command = page.get_by_role("region", name="Command: Register an event")
    await expect(command).to_contain_text("pipectl event register")

    written = result(
        "checkout",
        EventStatus.EVENT_SUCCESS,
        commit_hash=COMMIT,
        commit_url=f"https://git.example/shop/commit/{COMMIT}",
        branch="main",
        description="Set 1 value",
    )
    proposed = result(
        "payments",
        EventStatus.EVENT_SUCCESS,
        commit_hash=COMMIT,
        branch="pipecd/payments/image",
        pull_request_url="https://git.example/shop/pull/7",
    )
    unsafe = result("unsafe", EventStatus.EVENT_SUCCESS, pull_request_url="javascript:alert(1)")
    reason = "Failed to change values.yaml: there is no such file"
    failed = result("storefront", EventStatus.EVENT_FAILURE, description=reason)
    many = [result(f"app-{number}", EventStatus.EVENT_SUCCESS) for number in range(7)]
    await store.create(
        event(1, EventStatus.EVENT_SUCCESS, written, proposed, unsafe),
        event(2, EventStatus.EVENT_FAILURE, failed),
        event(3, EventStatus.EVENT_NOT_HANDLED, written),
        event(4, EventStatus.EVENT_NOT_HANDLED),
        event(5, EventStatus.EVENT_OUTDATED, status_description="The newer event 6 replaces it"),
        event(6, EventStatus.EVENT_SUCCESS, *many),
        by=TESTER,
    )
    # Without a reload.
    results = page.get_by_role("list", name="Results of image-1")
    await expect(results.get_by_role("listitem")).to_have_count(3)
    link = results.get_by_role("link", name=COMMIT[:7])
    await expect(link).to_have_attribute("href", f"https://git.example/shop/commit/{COMMIT}")
    await expect(results).to_contain_text("payments shop · Pull request · c0ffee1 on pipecd/payments/image")
    pull_requests = results.get_by_role("link", name="Pull request")
    await expect(pull_requests).to_have_count(1)
    await expect(pull_requests).to_have_attribute("href", "https://git.example/shop/pull/7")
    await expect(page.get_by_role("list", name="Results of image-2")).to_contain_text(reason)
    await expect(page.get_by_text("Other event watchers have not handled it yet.")).to_have_count(1)
    await expect(page.get_by_text("No event watcher has handled it.")).to_have_count(1)
    await expect(page.get_by_text("The newer event 6 replaces it")).to_have_count(1)
    await page.get_by_role("button", name="Show all 7 results").click()
    shown = page.get_by_role("list", name="Results of image-6")
    await expect(shown.get_by_role("listitem")).to_have_count(7)
    await expect_no_findings(page, within="main")

    await page.get_by_label("Search by name").fill("IMAGE-2")
    await expect(page.get_by_role("link", name="image-1", exact=True)).to_have_count(0)
    await expect(page.get_by_role("link", name="image-2", exact=True)).to_be_visible()
    # Links to filtered lists can be shared.
    await user.go("/events?status=success&label=app:shop")
    await expect(page.get_by_role("link", name="image-1", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="image-6", exact=True)).to_have_count(0)
    await user.go("/events?q=nothing")
    await expect(page.get_by_role("heading", name="No matching events")).to_be_visible()

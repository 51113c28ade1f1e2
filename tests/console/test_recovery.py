"""Open pages recover by themselves: from a restart of the control plane, of the network, and of a proxy."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from tests.actors import TESTER
from tests.console.browser import open_console
from tests.controlplane.server_fixture import PROJECT, ControlPlane, control_plane
from tests.ports import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

DEPLOYMENT = Deployment(
    id="d",
    project_id=PROJECT,
    application_id="a",
    application_name="shop",
    status=DeploymentStatus.DEPLOYMENT_RUNNING,
    created_at=1,
    stages=[PipelineStage(id="s", name="BUILD", visible=True, status=StageStatus.STAGE_RUNNING)],
)


async def write_line(plane: ControlPlane, number: int) -> None:
    block = LogBlock(index=number, log=f"line {number}", created_at=1)
    await plane.server.services.logs.append(DEPLOYMENT, "s", 0, [block])


async def expect_connection(text: str, *pages: Page) -> None:
    for page in pages:
        indicator = page.get_by_role("banner").get_by_role("status")
        await expect(indicator.filter(has_text=text)).to_be_visible()


async def test_open_pages_recover_by_themselves(browser: Browser, tmp_path: Path) -> None:
    """They show what has changed meanwhile, once; what was typed stays."""
    grpc_port, port = free_ports(2)
    address = f"http://127.0.0.1:{port}"
    async with open_console(browser, address) as user:
        context = user.page.context
        # Pages whose errors, of requests that fail, are expected.
        pages = applications, deployment, dialog = [await context.new_page() for _ in range(3)]
        log = deployment.get_by_role("log")
        async with control_plane(tmp_path, ports=(grpc_port, port), address=address) as plane:
            application = Application(id="a", name="shop", project_id=PROJECT, created_at=1)
            await plane.server.services.store.create(application, DEPLOYMENT, by=TESTER)
            await write_line(plane, 1)
            await user.has_roles(plane, "Admin")
            await applications.goto(f"{address}/applications")
            await deployment.goto(f"{address}/deployments/d")
            await dialog.goto(f"{address}/pipeds?register")
            await dialog.get_by_label("Name").fill("typed before the restart")
            await expect(applications.get_by_role("link", name="shop").first).to_be_visible()
            await expect(log.get_by_text("line 1", exact=True)).to_be_visible()
            await expect_connection("Live", *pages)
        await expect_connection("Disconnected", *pages)

        async with control_plane(tmp_path, ports=(grpc_port, port), address=address) as plane:
            store = plane.server.services.store
            await store.create(
                Application(id="b", name="second", project_id=PROJECT, created_at=2), by=TESTER
            )
            await write_line(plane, 2)
            await expect_connection("Live", *pages)
            await expect(applications.get_by_role("link", name="second").first).to_be_visible()
            await expect(log.get_by_text("line 2", exact=True)).to_be_visible()
            await write_line(plane, 3)
            await expect(log.get_by_text("line 3", exact=True)).to_be_visible()
            for number in (1, 2, 3):
                await expect(log.get_by_text(f"line {number}", exact=True)).to_have_count(1)
            await expect(dialog.get_by_label("Name")).to_have_value("typed before the restart")

            # Without a network, and then a proxy whose server does not answer.
            async def bad_gateway(route: Route) -> None:
                await route.fulfill(status=502, content_type="text/html", body="<h1>Bad gateway</h1>")

            await context.set_offline(True)
            await expect_connection("Disconnected", *pages)
            await context.route("**/api/**", bad_gateway)
            await context.set_offline(False)
            async with deployment.expect_response("**/api/**") as refused:
                pass
            assert (await refused.value).status == 502
            await expect(deployment.get_by_role("alert")).to_contain_text("The control plane does not answer")
            await write_line(plane, 4)
            await context.unroute("**/api/**")
            await expect_connection("Live", *pages)
            await expect(log.get_by_text("line 4", exact=True)).to_have_count(1)
            await expect(dialog.get_by_label("Name")).to_have_value("typed before the restart")
            for page in pages:
                await expect(page.get_by_role("alert")).to_have_count(0)

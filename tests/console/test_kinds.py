"""Applications of a kind that PipeCD's schema has no number for."""

import time

import pytest
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.model.application import Application, GitPath
from pipecd.model.resource import Health, Resource
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateRequest
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.application_pb2 import ApplicationInfo
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.pipecd.v1.agent_pb2 import InvalidFile, ReportUnregisteredApplicationsRequest
from pipecd.wire import snapshot_to
from tests.console.browser import BrowserUser
from tests.controlplane.server_fixture import PROJECT
from tests.world import REPOSITORY, World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


async def report_agent(w: World, agent: Client) -> None:
    """Its platforms, with a provider whose platform it lacks, and two files that it found in Git."""
    repository = ApplicationGitRepository(id=REPOSITORY, remote="https://git.example/shop.git", branch="main")
    meta = ReportPipedMetaRequest(
        version="0.1.0",
        repositories=[repository],
        platform_providers=[
            Piped.PlatformProvider(name="local", type="DIRECTORY"),
            Piped.PlatformProvider(name="terraform", type="TERRAFORM"),
            Piped.PlatformProvider(name="aws", type="LAMBDA"),
        ],
        plugins=[Piped.Plugin(name="directory", deploy_targets=["local"]), Piped.Plugin(name="terraform")],
        unavailable_platforms=[Piped.UnavailablePlatform(kind="ECS", requirement="pipecd[aws]")],
    )
    await agent.call(agent.piped.ReportPipedMeta, meta)
    info = ApplicationInfo(name="web", repo_id=REPOSITORY, path="web", piped_id=w.piped_id)
    error = "bad/app.pipecd.yaml:7: spec.pipelin: unknown key; did you mean pipeline? <b>" + "x" * 900
    file = InvalidFile(repo_id=REPOSITORY, path="bad/app.pipecd.yaml", error=error)
    found = ReportUnregisteredApplicationsRequest(
        applications=[info], kinds=["DIRECTORY"], invalid_files=[file]
    )
    await agent.call(agent.agent.ReportUnregisteredApplications, found)


async def test_a_kind_of_another_package_is_suggested_added_shown_and_filtered(
    user: BrowserUser, w: World, agent: Client
) -> None:
    page = user.page
    await report_agent(w, agent)
    await w.register("shop", kind=TERRAFORM)

    await user.go("/pipeds")
    row = page.get_by_role("row").filter(has_text="home")
    await expect(row).to_contain_text("DIRECTORY, Terraform")
    await expect(row).to_contain_text("aws: Lambda is not installed")
    await expect(row).to_contain_text("ECS is not installed: needs pipecd[aws]")

    await user.go("/applications")
    notice = page.get_by_role("main").get_by_role("alert").filter(has_text="cannot be used")
    await expect(notice).to_contain_text("1 application found in Git is not registered. 1 configuration file")

    await user.go("/applications/add")
    await expect(page.get_by_text("DIRECTORY \u00b7")).to_be_visible()
    invalid = page.get_by_role("alert").filter(has_text="Files that cannot be used")
    await expect(invalid).to_contain_text("bad/app.pipecd.yaml:7: spec.pipelin: unknown key")
    await expect(invalid).to_contain_text("<b>")
    await expect(invalid).to_contain_text(f"{REPOSITORY}:bad/app.pipecd.yaml · home")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a long error wraps"
    await page.get_by_role("button", name="Fill in form").click()
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("heading", name="web", level=1)).to_be_visible()
    configuration = page.get_by_role("region", name="Configuration")
    await expect(configuration).to_contain_text("DIRECTORY")
    await expect(configuration).to_contain_text("local")

    application_id = str(await page.evaluate("location.pathname.split('/').pop()"))
    application = Application(
        id=application_id,
        name="web",
        piped_id=w.piped_id,
        project_id=PROJECT,
        kind="DIRECTORY",
        git_path=GitPath(repo_id=REPOSITORY, path="web"),
    )
    file = Resource(id="f", kind="File", name="a", api_version="v1", namespace="ns", health=Health.HEALTHY)
    snapshot = snapshot_to(application, [file], now=int(time.time()))
    await agent.call(
        agent.piped.ReportApplicationLiveState, ReportApplicationLiveStateRequest(snapshot=snapshot)
    )
    live = page.get_by_role("region", name="Live state")
    await expect(live.get_by_role("button", name="a File, Healthy")).to_have_attribute("title", "File ns/a")

    await user.go("/applications?kind=directory")
    table = page.get_by_role("table")
    await expect(table.get_by_role("link", name="web", exact=True)).to_be_visible()
    await expect(table.get_by_role("link", name="shop", exact=True)).to_have_count(0)
    await expect(table).to_contain_text("DIRECTORY")

"""The pages of deployment chains and traces."""

import time

import pytest
from playwright.async_api import expect

from pipecd.client import Client
from pipecd.controlplane.records.chains import chain_id
from pipecd.schema.agent.chains_pb2 import CreateDeploymentChainRequest
from pipecd.schema.agent.deployments_pb2 import CreateDeploymentRequest, ReportDeploymentCompletedRequest
from pipecd.schema.model.chain_pb2 import ChainFailurePolicy
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from tests.actors import TESTER
from tests.console.browser import BrowserUser
from tests.console.seeds import build_deployment, report_repository
from tests.controlplane.server_fixture import PROJECT
from tests.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
Matcher = CreateDeploymentChainRequest.ApplicationMatcher
COMMIT = "abcdef1234567890abcdef1234567890abcdef12"


async def test_a_chain_and_a_trace_show_their_deployments(user: BrowserUser, w: World, agent: Client) -> None:
    page, now = user.page, int(time.time())
    await report_repository(agent)
    ids = {name: await w.register(name, kind=1) for name in ("shop", "api", "web")}
    first = build_deployment(w, ids["shop"], "shop", at=now)
    first.deployment_trace_commit_hash = COMMIT
    matchers = [Matcher(name="api"), Matcher(name="web")]
    request = CreateDeploymentChainRequest(
        first_deployment=first, matchers=matchers, on_failure=ChainFailurePolicy.CHAIN_FAILURE_CANCEL
    )
    await agent.call(agent.piped.CreateDeploymentChain, request)
    chain, api = chain_id(first), build_deployment(w, ids["api"], "api", at=now)
    api.deployment_chain_id, api.deployment_chain_block_index = chain, 1
    await agent.call(agent.piped.CreateDeployment, CreateDeploymentRequest(deployment=api))
    store = w.plane.server.services.store
    for commit, title in ((COMMIT, "Fix the basket"), (COMMIT[::-1], "Not deployed yet")):
        trace = DeploymentTrace(
            id=commit, project_id=PROJECT, title=title, commit_hash=commit, author="ada", created_at=now,
            commit_url=f"https://git.example/shop/commit/{commit}", updated_at=now,
        )  # fmt: skip
        await store.create(trace, by=TESTER)

    await user.go("/chains")
    await expect(page.get_by_role("region", name="Chain of shop")).to_contain_text("web")
    await page.get_by_role("link", name="Open the chain of shop").click()
    blocks = page.get_by_role("list", name="Blocks").locator("> li")
    await expect(blocks).to_have_count(3)
    await expect(blocks.nth(1)).to_contain_text("waits for block 1 of the deployment chain: shop (pending")
    await expect(blocks.nth(2)).to_contain_text("No deployment yet")
    await expect(page.get_by_text("Running deployments of its block are cancelled")).to_be_visible()
    report = ReportDeploymentCompletedRequest(
        deployment_id=first.id, status=DeploymentStatus.DEPLOYMENT_CANCELLED, completed_at=now
    )
    await agent.call(agent.piped.ReportDeploymentCompleted, report)
    for block in range(3):
        await expect(blocks.nth(block)).to_contain_text("Cancelled")
    await blocks.nth(0).get_by_role("link", name="Cancelled: deployment of shop").click()
    await expect(page.get_by_role("link", name="Block 1 of a deployment chain")).to_be_visible()
    await page.get_by_role("link", name="Caused by commit abcdef1").click()
    traces = page.get_by_role("region")
    await expect(traces.filter(has_text="Fix the basket").get_by_role("link", name="shop")).to_be_visible()
    await expect(page.get_by_role("region", name="Not deployed yet")).to_have_count(0)
    await user.go("/traces")
    await expect(page.get_by_role("region", name="Not deployed yet")).to_contain_text("No deployment yet")

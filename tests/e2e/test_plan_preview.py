"""Plan previews of pull requests, requested with `pipectl` and created by the agent; they change nothing."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipecd.client import ApiKey, Transport, connect
from pipecd.encryption import encrypt
from pipecd.errors import NotFound, Temporary
from pipecd.schema.api.plan_preview_pb2 import GetPlanPreviewResultsRequest, RequestPlanPreviewRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult
from tests import keys
from tests.eventually import eventually
from tests.pipectl.pipectl_process import Pipectl
from tests.platforms.terraform.shop import configuration, data, values
from tests.skippable_clock import SkippableClock
from tests.world import REPOSITORY, World, app_file, pipeline, world

#: Without drift detection, whose plans would be counted too.
PROVIDERS = [
    {
        "name": "terraform",
        "type": "TERRAFORM",
        "config": {"driftDetectionEnabled": False},
    }
]
SECRET = "a secret of the plan"


WaitForResults = Callable[[], Awaitable[Sequence[PlanPreviewCommandResult]]]


@dataclass
class Reviewer:
    """A user with a clone, branches and an API key."""

    w: World
    pipectl: Pipectl

    def branch(self, name: str, files: dict[str, str | None], at: str = "main") -> str:
        """Pushes a branch with `files`; returns its commit."""
        clone = self.w.clone
        clone.git("checkout", "--quiet", "-b", name, at)
        commit = clone.commit(f"Work on {name}", files)
        clone.git("push", "--quiet", "origin", f"HEAD:refs/heads/{name}")
        clone.git("checkout", "--quiet", "main")
        return commit

    async def preview(self, branch: str, commit: str, **more: str) -> dict[str, Any]:
        out = self.w.folder / "preview.json"
        flags = {
            "repo-remote-url": self.w.git.url(REPOSITORY),
            "head-branch": branch,
            "head-commit": commit,
            "base-branch": "main",
            "out": str(out),
            "timeout": "240s",
            **more,
        }
        result = await self.pipectl("plan-preview", *(f"--{name}={value}" for name, value in flags.items()))
        assert out.exists(), result.err
        preview: dict[str, Any] = json.loads(out.read_text())
        preview["printed"] = result.out
        return preview

    @asynccontextmanager
    async def request(self, branch: str, commit: str, *, within: int) -> AsyncIterator[WaitForResults]:
        """Requests a preview without waiting for it; the agent's timeout is `within` seconds."""
        key = ApiKey(key=self.pipectl.key_file.read_text())
        client = await connect(self.w.plane.address, key, Transport(insecure=True))
        request = RequestPlanPreviewRequest(
            repo_remote_url=self.w.git.url(REPOSITORY),
            head_branch=branch,
            head_commit=commit,
            base_branch="main",
            timeout=within,
        )
        commands = (await client.call(client.api.RequestPlanPreview, request)).commands
        results_request = GetPlanPreviewResultsRequest(commands=commands, command_handle_timeout=600)

        async def check() -> Any:
            try:
                results = (await client.call(client.api.GetPlanPreviewResults, results_request)).results
            except (NotFound, Temporary):
                return None
            # Between two agents the result is that no agent is online.
            return None if any("is not online" in item.error for item in results) else results

        try:
            yield lambda: eventually(check, 300)
        finally:
            await client.close()


@asynccontextmanager
async def reviewer(folder: Path, **agent: Any) -> AsyncIterator[Reviewer]:
    async with world(folder) as w, w.agent(platformProviders=PROVIDERS, **agent):
        yield await create_reviewer(w)


async def create_reviewer(w: World) -> Reviewer:
    key_file = w.folder / "api.key"
    response = await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)
    key_file.write_text(response.key)
    return Reviewer(w, Pipectl(w.plane, key_file))


def shop(folder: Path, body: str, name: str = "shop", **spec: Any) -> dict[str, str | None]:
    return {
        "app.pipecd.yaml": app_file(name, **spec),
        "main.tf": configuration(folder / f"{name}.state", body),
    }


def deployed_without_terraform(files: dict[str, str | None], name: str = "shop") -> dict[str, str | None]:
    """`files` with a pipeline that changes nothing. A branch to be planned has a file of `app_file`."""
    return {**files, "app.pipecd.yaml": pipeline("true", name=name)}


async def deploy(w: World, name: str, files: dict[str, str | None]) -> str:
    app = await w.add_application(name, files)
    ended = await w.wait_for_deployment(app)
    assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason
    return app


async def test_pull_request_is_previewed_and_nothing_is_changed(tmp_path: Path) -> None:
    management = keys.write_key_pair(tmp_path)
    encrypted = encrypt(Path(management["config"]["publicKeyFile"]).read_text(), SECRET.encode())
    async with reviewer(tmp_path, secretManagement=management) as user:
        w = user.w
        body = data("a", "1")
        app = await deploy(w, "shop", shop(tmp_path, body))
        await deploy(w, "other", shop(tmp_path, body, "other"))
        encryption = {"encryptedSecrets": {"one": encrypted}, "decryptionTargets": ["main.tf"]}
        changed = shop(
            tmp_path,
            data("a", "2") + data("b", "{{ .encryptedSecrets.one }}"),
            encryption=encryption,
            pipeline={"stages": [{"name": "TERRAFORM_APPLY"}]},
        )
        commit = user.branch("better", {f"shop/{name}": text for name, text in changed.items()})
        # The base branch has a newer commit: the preview is of the merge.
        await w.push("Meanwhile", {"README.md": "something else\n"})
        preview = await user.preview("better", commit)
        (application,) = preview["Applications"]
        assert application["ApplicationID"] == app and application["ApplicationName"] == "shop"
        assert application["ApplicationKind"] == "TERRAFORM" and application["ApplicationDirectory"] == "shop"
        assert application["SyncStrategy"] == "PIPELINE" and not application["NoChange"]
        assert application["PlanSummary"] == "1 to add, 1 to change, 0 to destroy"
        assert "terraform_data.b will be created" in application["PlanDetails"]
        assert "\x1b[" not in application["PlanDetails"]
        assert '= "******"' in application["PlanDetails"] and SECRET not in json.dumps(preview)
        assert not preview["FailureApplications"] and not preview["FailurePipeds"]
        assert values(tmp_path / "shop.state") == {"a": "1"}
        assert len(await w.deployments(app)) == 1

        async def one_link_each() -> bool:
            # A live state check has its own link while it runs.
            links = [path for path in (tmp_path / "agent").rglob("terraform/*") if path.is_symlink()]
            assert len(links) >= 2
            return len(links) == 2

        await eventually(one_link_each)


async def test_pull_request_without_application_changes_has_no_preview(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as user:
        await deploy(user.w, "shop", shop(tmp_path, data("a", "1")))
        words = user.branch("words", {"README.md": "more words\n"})
        assert (await user.preview("words", words))["Applications"] == []
        same = user.branch("same", {"shop/README.md": "words\n"})
        (application,) = (await user.preview("same", same))["Applications"]
        assert application["NoChange"] and application["PlanSummary"] == "No changes were detected"
        assert application["SyncStrategy"] == "QUICK_SYNC"


ANALYSIS = {
    "name": "ANALYSIS",
    "with": {
        "duration": "5m",
        "metrics": [
            {"provider": "prometheus", "query": "up", "interval": "1m", "expected": {"max": 1}},
        ],
    },
}


async def test_errors_are_reported_per_application(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as user:
        w = user.w
        for name in ("broken", "unmeasured", "gone", "bad", "good"):
            await deploy(w, name, deployed_without_terraform(shop(tmp_path, data("a", "1"), name), name))
        commit = user.branch(
            "mixed",
            {
                "broken/app.pipecd.yaml": pipeline({"name": "VERIFY"}, name="broken"),
                "unmeasured/app.pipecd.yaml": pipeline(ANALYSIS, name="unmeasured"),
                "gone/app.pipecd.yaml": None,
                "bad/app.pipecd.yaml": app_file("bad"),
                "bad/main.tf": configuration(tmp_path / "bad.state", 'resource "x" {}'),
                "good/app.pipecd.yaml": app_file("good"),
                "good/main.tf": configuration(tmp_path / "good.state", data("a", "2")),
            },
        )
        preview = await user.preview("mixed", commit)
        assert [application["ApplicationName"] for application in preview["Applications"]] == ["good"]
        reasons = {
            application["ApplicationName"]: application["Reason"]
            for application in preview["FailureApplications"]
        }
        assert "broken/app.pipecd.yaml:7: spec.pipeline.stages[0].name: " in reasons["broken"]
        assert "this agent has no analysis provider prometheus; " in reasons["unmeasured"]
        assert "would be deleted" in reasons["gone"]
        assert "main.tf" in reasons["bad"]


async def test_merge_failures_are_reported_per_agent(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as user:
        w = user.w
        await deploy(w, "shop", deployed_without_terraform(shop(tmp_path, data("a", "1"))))
        commit = user.branch("mine", {"shop/note": "mine\n"})
        await w.push("Theirs", {"shop/note": "theirs\n"})
        preview = await user.preview("mine", commit)
        (failed,) = preview["FailurePipeds"]
        assert "conflict in shop/note" in failed["Reason"] and failed["PipedID"] == w.piped_id
        (unknown,) = (await user.preview("mine", "1" * 40))["FailurePipeds"]
        assert "no branch of the repository has commit 111111111111" in unknown["Reason"]
        (invalid,) = (await user.preview("mine", "--output=/tmp/x"))["FailurePipeds"]
        assert "not a commit hash" in invalid["Reason"]


async def test_preview_and_deployment_do_not_block_each_other(tmp_path: Path) -> None:
    """Both run in the same application, whose state is locked during an apply."""
    async with reviewer(tmp_path) as user:
        w = user.w
        os.mkfifo(tmp_path / "go-on")
        slow = (
            'resource "terraform_data" "slow" {\n  provisioner "local-exec" {\n'
            f'    command = "cat {tmp_path}/go-on"\n  }}\n}}\n'
        )
        app = await w.add_application("shop", shop(tmp_path, slow))

        async def applying() -> bool:
            deployments = await w.deployments(app)
            return bool(deployments) and "Creating..." in await w.log(deployments[0].id, "TerraformSync")

        await eventually(applying)
        files = shop(tmp_path, data("b", "1"))
        commit = user.branch("next", {f"shop/{name}": text for name, text in files.items()})
        (application,) = (await user.preview("next", commit))["Applications"]
        assert application["PlanSummary"].startswith("1 to add")
        assert (await w.deployments(app))[0].status == DeploymentStatus.DEPLOYMENT_RUNNING
        await asyncio.to_thread((tmp_path / "go-on").write_text, "")
        ended = await w.wait_for_deployment(app)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason


async def test_preview_that_times_out_reports_it(tmp_path: Path) -> None:
    # With one worker, `quick` is planned before `shop`.
    clock, within = SkippableClock(), 300
    async with reviewer(tmp_path, clock=clock, planPreview={"workerNum": 1}) as user:
        w = user.w
        for name in ("shop", "quick"):
            await deploy(w, name, shop(tmp_path, data("a", "1"), name))
        pipe = tmp_path / "never-written"
        os.mkfifo(pipe)
        endless = f'output "x" {{\n  value = file("{pipe}")\n}}\n'
        commit = user.branch(
            "slow",
            {
                "shop/main.tf": configuration(tmp_path / "shop.state", endless),
                "quick/main.tf": configuration(tmp_path / "quick.state", ""),
            },
        )
        async with user.request("slow", commit, within=within) as wait_for_results:
            # Opening the pipe returns once the plan of `shop` reads from it.
            with await asyncio.to_thread(open, pipe, "w"):
                clock.skip(within)
                (found,) = await wait_for_results()
        results = {item.application_name: item for item in found.results}
        assert results["shop"].error == f"the plan preview timed out after {within} s"
        assert results["quick"].plan_summary == b"0 to add, 0 to change, 1 to destroy"


async def test_preview_interrupted_by_a_shutdown_is_completed_by_the_next_agent(tmp_path: Path) -> None:
    pipe = tmp_path / "go-on"
    os.mkfifo(pipe)
    waits = f'output "x" {{\n  value = file("{pipe}")\n}}\n'
    async with world(tmp_path) as w, AsyncExitStack() as exit_stack:
        user = await create_reviewer(w)
        async with w.agent(platformProviders=PROVIDERS):
            await deploy(w, "shop", deployed_without_terraform(shop(tmp_path, data("a", "1"))))
            files = shop(tmp_path, waits)
            commit = user.branch("next", {f"shop/{name}": text for name, text in files.items()})
            wait_for_results = await exit_stack.enter_async_context(user.request("next", commit, within=300))
            # Opening the pipe returns once the plan reads from it: the plan is running, and blocked.
            writer = exit_stack.enter_context(await asyncio.to_thread(open, pipe, "w"))
            assert writer.writable()
        pipe.unlink()
        pipe.write_text("value")
        async with w.agent(platformProviders=PROVIDERS):
            (found,) = await wait_for_results()
        (application,) = found.results
        assert not found.error and b"value" in application.plan_details

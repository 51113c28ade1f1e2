"""What a pull request would change, asked by `pipectl` and answered by the agent; asking changes nothing."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipecd.client import ApiKey, Transport, connect
from pipecd.encryption import seal
from pipecd.errors import NotFound, Temporary
from pipecd.schema.api.plan_preview_pb2 import GetPlanPreviewResultsRequest, RequestPlanPreviewRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult
from tests import keys
from tests.eventually import eventually
from tests.pipectl.running import Pipectl
from tests.platforms.terraform.shop import configuration, data, values
from tests.world import REPOSITORY, World, app_file, world

#: No plan of drift detection beside the one that is counted.
PROVIDERS = [
    {
        "name": "terraform",
        "type": "TERRAFORM",
        "config": {"binary": "embedded", "driftDetectionEnabled": False},
    }
]
SECRET = "a secret of the plan"


Answer = Callable[[], Awaitable[Sequence[PlanPreviewCommandResult]]]


@dataclass
class Reviewer:
    """Somebody with a clone, a branch and an API key."""

    w: World
    pipectl: Pipectl

    def branch(self, name: str, files: dict[str, str | None], at: str = "main") -> str:
        """A pushed branch with `files`; its commit."""
        clone = self.w.clone
        clone.git("checkout", "--quiet", "-b", name, at)
        made = clone.commit(f"Work on {name}", files)
        clone.git("push", "--quiet", "origin", f"HEAD:refs/heads/{name}")
        clone.git("checkout", "--quiet", "main")
        return made

    async def preview(self, branch: str, commit: str, **more: str) -> dict[str, Any]:
        out = self.w.folder / "preview.json"
        asked = {
            "repo-remote-url": self.w.git.url(REPOSITORY),
            "head-branch": branch,
            "head-commit": commit,
            "base-branch": "main",
            "out": str(out),
            "timeout": "240s",
            **more,
        }
        ran = await self.pipectl("plan-preview", *(f"--{name}={value}" for name, value in asked.items()))
        assert out.exists(), ran.err
        found: dict[str, Any] = json.loads(out.read_text())
        found["printed"] = ran.out
        return found

    @asynccontextmanager
    async def asked(self, branch: str, commit: str, *, within: int) -> AsyncIterator[Answer]:
        """Asks without waiting as `pipectl` does; the agent is given `within` seconds."""
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
        wanted = GetPlanPreviewResultsRequest(commands=commands, command_handle_timeout=600)

        async def look() -> Any:
            try:
                found = (await client.call(client.api.GetPlanPreviewResults, wanted)).results
            except (NotFound, Temporary):
                return None
            # Between two agents there is none, which is an answer too.
            return None if any("is not online" in one.error for one in found) else found

        try:
            yield lambda: eventually(look, 300)
        finally:
            await client.close()


@asynccontextmanager
async def reviewer(folder: Path, **agent: Any) -> AsyncIterator[Reviewer]:
    async with world(folder) as w, w.agent(platformProviders=PROVIDERS, **agent):
        yield await reviewer_of(w)


async def reviewer_of(w: World) -> Reviewer:
    key_file = w.folder / "api.key"
    made = await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)
    key_file.write_text(made.key)
    return Reviewer(w, Pipectl(w.plane, key_file))


def shop(folder: Path, body: str, name: str = "shop", **spec: Any) -> dict[str, str | None]:
    return {
        "app.pipecd.yaml": app_file(name, **spec),
        "main.tf": configuration(folder / f"{name}.state", body),
    }


async def deployed(w: World, name: str, files: dict[str, str | None]) -> str:
    app = await w.application(name, files)
    ended = await w.ended(app)
    assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason
    return app


async def test_a_pull_request_is_previewed_and_nothing_is_changed(tmp_path: Path) -> None:
    management = keys.made(tmp_path)
    sealed = seal(Path(management["config"]["publicKeyFile"]).read_text(), SECRET.encode())
    async with reviewer(tmp_path, secretManagement=management) as someone:
        w = someone.w
        body = data("a", "1")
        app = await deployed(w, "shop", shop(tmp_path, body))
        await deployed(w, "other", shop(tmp_path, body, "other"))
        encryption = {"encryptedSecrets": {"one": sealed}, "decryptionTargets": ["main.tf"]}
        changed = shop(
            tmp_path,
            data("a", "2") + data("b", "{{ .encryptedSecrets.one }}"),
            encryption=encryption,
            pipeline={"stages": [{"name": "TERRAFORM_APPLY"}]},
        )
        commit = someone.branch("better", {f"shop/{name}": text for name, text in changed.items()})
        # The base has moved on: the preview is of the merge.
        await w.push("Meanwhile", {"README.md": "something else\n"})
        found = await someone.preview("better", commit)
        (one,) = found["Applications"]
        assert one["ApplicationID"] == app and one["ApplicationName"] == "shop"
        assert one["ApplicationKind"] == "TERRAFORM" and one["ApplicationDirectory"] == "shop"
        assert one["SyncStrategy"] == "PIPELINE" and not one["NoChange"]
        assert one["PlanSummary"] == "1 to add, 1 to change, 0 to destroy"
        assert "terraform_data.b will be created" in one["PlanDetails"]
        assert "\x1b[" not in one["PlanDetails"]
        assert '= "******"' in one["PlanDetails"] and SECRET not in json.dumps(found)
        assert not found["FailureApplications"] and not found["FailurePipeds"]
        assert values(tmp_path / "shop.state") == {"a": "1"}
        assert len(await w.deployments(app)) == 1

        async def one_each() -> bool:
            # A look at the live state has one of its own for as long as it lasts.
            links = [path for path in (tmp_path / "agent").rglob("terraform/*") if path.is_symlink()]
            assert len(links) >= 2
            return len(links) == 2

        await eventually(one_each)


async def test_what_changes_no_application_previews_none(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as someone:
        await deployed(someone.w, "shop", shop(tmp_path, data("a", "1")))
        words = someone.branch("words", {"README.md": "more words\n"})
        assert (await someone.preview("words", words))["Applications"] == []
        same = someone.branch("same", {"shop/README.md": "words\n"})
        (one,) = (await someone.preview("same", same))["Applications"]
        assert one["NoChange"] and one["PlanSummary"] == "No changes were detected"
        assert one["SyncStrategy"] == "QUICK_SYNC"


async def test_what_is_wrong_is_told_for_each_application(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as someone:
        w = someone.w
        for name in ("broken", "gone", "bad", "good"):
            await deployed(w, name, shop(tmp_path, data("a", "1"), name))
        commit = someone.branch(
            "mixed",
            {
                "broken/app.pipecd.yaml": "kind: [",
                "gone/app.pipecd.yaml": None,
                "bad/main.tf": configuration(tmp_path / "bad.state", 'resource "x" {}'),
                "good/main.tf": configuration(tmp_path / "good.state", data("a", "2")),
            },
        )
        found = await someone.preview("mixed", commit)
        assert [one["ApplicationName"] for one in found["Applications"]] == ["good"]
        why = {one["ApplicationName"]: one["Reason"] for one in found["FailureApplications"]}
        assert "broken/app.pipecd.yaml" in why["broken"]
        assert "would be gone" in why["gone"]
        assert "main.tf" in why["bad"]


async def test_what_cannot_be_merged_is_told_for_the_agent(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as someone:
        w = someone.w
        await deployed(w, "shop", shop(tmp_path, data("a", "1")))
        commit = someone.branch("mine", {"shop/note": "mine\n"})
        await w.push("Theirs", {"shop/note": "theirs\n"})
        found = await someone.preview("mine", commit)
        (failed,) = found["FailurePipeds"]
        assert "conflict in shop/note" in failed["Reason"] and failed["PipedID"] == w.piped_id
        (unknown,) = (await someone.preview("mine", "1" * 40))["FailurePipeds"]
        assert "no branch of the repository has commit 111111111111" in unknown["Reason"]
        (odd,) = (await someone.preview("mine", "--output=/tmp/x"))["FailurePipeds"]
        assert "no commit's hash" in odd["Reason"]


async def test_a_preview_neither_waits_for_a_deployment_nor_holds_one_up(tmp_path: Path) -> None:
    """The state is locked while something is applied, and both run in the same application."""
    async with reviewer(tmp_path) as someone:
        w = someone.w
        os.mkfifo(tmp_path / "go-on")
        slow = (
            'resource "terraform_data" "slow" {\n  provisioner "local-exec" {\n'
            f'    command = "cat {tmp_path}/go-on"\n  }}\n}}\n'
        )
        app = await w.application("shop", shop(tmp_path, slow))

        async def applying() -> bool:
            made = await w.deployments(app)
            return bool(made) and "Creating..." in await w.log(made[0].id, "TerraformSync")

        await eventually(applying)
        files = shop(tmp_path, data("b", "1"))
        commit = someone.branch("next", {f"shop/{name}": text for name, text in files.items()})
        (one,) = (await someone.preview("next", commit))["Applications"]
        assert one["PlanSummary"].startswith("1 to add")
        assert (await w.deployments(app))[0].status == DeploymentStatus.DEPLOYMENT_RUNNING
        await asyncio.to_thread((tmp_path / "go-on").write_text, "")
        ended = await w.ended(app)
        assert ended.status == DeploymentStatus.DEPLOYMENT_SUCCESS, ended.status_reason


async def test_a_preview_that_takes_too_long_ends_and_says_so(tmp_path: Path) -> None:
    async with reviewer(tmp_path) as someone:
        w = someone.w
        for name in ("shop", "quick"):
            await deployed(w, name, shop(tmp_path, data("a", "1"), name))
        os.mkfifo(tmp_path / "nobody-writes")
        endless = f'output "x" {{\n  value = file("{tmp_path}/nobody-writes")\n}}\n'
        commit = someone.branch(
            "slow",
            {
                "shop/main.tf": configuration(tmp_path / "shop.state", endless),
                "quick/main.tf": configuration(tmp_path / "quick.state", ""),
            },
        )
        alone = someone.branch(
            "alone", {"quick/main.tf": configuration(tmp_path / "quick.state", data("a", "2"))}
        )
        begun = time.monotonic()
        await someone.preview("alone", alone)
        # Several times what the quick one takes, however busy the machine is.
        within = 10 + 4 * int(time.monotonic() - begun)
        async with someone.asked("slow", commit, within=within) as answer:
            (found,) = await answer()
        results = {one.application_name: one for one in found.results}
        assert results["shop"].error == f"the preview was not finished within {within} s"
        assert results["quick"].plan_summary == b"0 to add, 0 to change, 1 to destroy"


async def test_a_preview_that_an_agent_did_not_live_to_answer_is_answered_by_the_next(tmp_path: Path) -> None:
    pipe = tmp_path / "go-on"
    os.mkfifo(pipe)
    waits = f'output "x" {{\n  value = file("{pipe}")\n}}\n'
    async with world(tmp_path) as w, AsyncExitStack() as held:
        someone = await reviewer_of(w)
        async with w.agent(platformProviders=PROVIDERS):
            await deployed(w, "shop", shop(tmp_path, data("a", "1")))
            commit = someone.branch("next", {"shop/main.tf": configuration(tmp_path / "shop.state", waits)})
            answer = await held.enter_async_context(someone.asked("next", commit, within=300))
            # Opening returns once the plan reads: it is at work, and waits for words that do not come.
            writer = held.enter_context(await asyncio.to_thread(open, pipe, "w"))
            assert writer.writable()
        pipe.unlink()
        pipe.write_text("said")
        async with w.agent(platformProviders=PROVIDERS):
            (found,) = await answer()
        (one,) = found.results
        assert not found.error and b"said" in one.plan_details

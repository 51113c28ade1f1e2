"""Stages without a platform: waiting, approvals and scripts, also across a restart."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipecd.config.stages import CustomSyncOptions, ScriptRunOptions, WaitApprovalOptions, WaitOptions
from pipecd.errors import Refused
from pipecd.model.approval import DECISIONS
from pipecd.model.notification import ApprovalRequested, DeploymentApproved
from pipecd.model.stage import CANDIDATE_URL, Again, Done, Failed
from pipecd.model.status import StageStatus
from pipecd.stages import STAGES
from tests.eventually import eventually
from tests.stages.stage_runner import StageRunner, open_runner, stage_action

wait, approval, script = STAGES["WAIT"], STAGES["WAIT_APPROVAL"], STAGES["SCRIPT_RUN"]


def app_file(*stages: dict[str, object]) -> str:
    spec: dict[str, object] = {"name": "shop"}
    if stages:
        spec["pipeline"] = {"stages": list(stages)}
    return yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": "TerraformApp", "spec": spec})


FILES: dict[str, str | None] = {"app.pipecd.yaml": app_file(), "value": "one\n"}


async def test_wait_ends_when_its_time_has_passed_also_across_a_restart(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        runner.now = 1000.0
        options = WaitOptions.model_validate({"duration": "30s"})
        async with runner.calls("WAIT", wait, options) as call:
            assert await call() == Again(saved={"startTime": "1000"}, note="Waiting for 30 s")
            runner.now = 1025.0
            assert (await call()).after == 5.0
        async with runner.calls("WAIT", wait, options) as call:
            runner.now = 1029.5
            assert isinstance(await call(), Again)
            runner.now = 1030.0
            assert await call() == Done(note="Waited for 30 s")


async def test_wait_begins_again_if_the_clock_of_the_machine_was_set_back(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        runner.now = 100_000.0
        options = WaitOptions.model_validate({"duration": "30s"})
        async with runner.calls("WAIT", wait, options) as call:
            await call()
            runner.now = 1000.0
            assert (await call()).saved == {"startTime": "1000"}
            runner.now = 1030.0
            assert await call() == Done(note="Waited for 30 s")


async def test_wait_logs_the_remaining_time(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        runner.now = 1000.0
        await runner.run("WAIT", wait, WaitOptions())
        assert runner.now == 1060.0
        assert [line for _, line in runner.log.lines] == [
            "Waiting for 60 s",
            *(f"{seconds} s remaining" for seconds in (50, 40, 30, 20, 10)),
            "Waited for 60 s",
        ]


async def test_one_approval_is_enough_and_approvers_are_notified_once(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        async with runner.calls("WAIT_APPROVAL", approval, WaitApprovalOptions()) as call:
            assert (await call()).note == "Waiting for approval"
            assert isinstance(await call(), Again)
        async with runner.calls("WAIT_APPROVAL", approval, WaitApprovalOptions()) as call:
            assert isinstance(await call(), Again)
            runner.actions.append(stage_action("ada"))
            done = await call()
        assert isinstance(done, Done) and done.note == "Approved by ada"
        requested, approved = runner.notifications
        assert isinstance(requested, ApprovalRequested)
        assert (requested.deployment.application_name, requested.approvers) == ("shop", ())
        assert requested.key == "d/wait_approval/DEPLOYMENT_WAIT_APPROVAL"
        assert isinstance(approved, DeploymentApproved)
        assert (approved.approvers, approved.key) == (("ada",), "d/wait_approval/DEPLOYMENT_APPROVED")


async def test_approvals_of_different_people_are_counted_and_the_same_person_once(tmp_path: Path) -> None:
    options = WaitApprovalOptions.model_validate({"approvers": ["ada", "bob", "eve"], "minApproverNum": 2})
    async with open_runner(tmp_path, FILES) as runner:
        async with runner.calls("WAIT_APPROVAL", approval, options) as call:
            await call()
            runner.actions[:] = [stage_action("ada", comment="Figures are\nfine"), stage_action("mallory")]
            first = await call()
            assert isinstance(first, Again)
            by_ada = {"by": "ada", "verdict": "approved", "comment": "Figures are\nfine", "at": 5}
            assert first.saved == {"ApprovedBy": "ada", DECISIONS: json.dumps([by_ada])}
            assert first.note == "Approved by ada; waiting for 1 more"
            runner.actions[:] = [stage_action("ada")]
            assert isinstance(await call(), Again)
            runner.actions[:] = [stage_action("bob")]
            done = await call()
        by_bob = {"by": "bob", "verdict": "approved", "comment": "", "at": 5}
        assert done == Done(
            note="Approved by ada, bob",
            saved={"ApprovedBy": "ada, bob", DECISIONS: json.dumps([by_ada, by_bob])},
        )
        assert "Approved by ada (1 of 2): Figures are fine" in runner.log.text
        assert "mallory is not an approver; ignoring the request" in runner.log.text
        assert "ada has already approved; each user counts once" in runner.log.text


async def test_an_approval_from_before_the_stage_starts_counts(tmp_path: Path) -> None:
    """An agent that was offline finds both the stage to start and its approval."""
    async with open_runner(tmp_path, FILES) as runner:
        runner.actions.append(stage_action("ada"))
        async with runner.calls("WAIT_APPROVAL", approval, WaitApprovalOptions()) as call:
            done = await call()
        assert isinstance(done, Done)
        assert done.saved.keys() == {"pipecd/asked", "ApprovedBy", DECISIONS}
        assert [type(event) for event in runner.notifications] == [ApprovalRequested, DeploymentApproved]


async def test_an_approval_may_be_skipped_only_by_an_approver(tmp_path: Path) -> None:
    options = WaitApprovalOptions.model_validate({"approvers": ["ada"]})
    async with (
        open_runner(tmp_path, FILES) as runner,
        runner.calls("WAIT_APPROVAL", approval, options) as call,
    ):
        await call()
        runner.actions[:] = [stage_action("mallory", approve=False)]
        assert isinstance(await call(), Again)
        runner.actions[:] = [stage_action("ada", approve=False)]
        done = await call()
        assert done.status is StageStatus.SKIPPED
        assert done.saved == {"SkippedBy": "ada"}


def run(text: str, **more: object) -> ScriptRunOptions:
    return ScriptRunOptions.model_validate({"run": text, **more})


async def test_a_script_gets_the_address_of_the_new_version(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        shared = {CANDIDATE_URL: "https://pipecd-abc---shop.run.app"}
        runner.deployment = replace(runner.deployment, shared=shared)
        await runner.run("SCRIPT_RUN", script, run("echo at $SR_CANDIDATE_URL"))
        assert ("info", "at https://pipecd-abc---shop.run.app") in runner.log.lines


async def test_a_script_runs_in_the_application_s_directory_with_variables_of_the_deployment(
    tmp_path: Path,
) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        commit = runner.deployment.trigger.commit.hash
        text = f"cat value; env -0 > {tmp_path}/env"
        done = await runner.run("SCRIPT_RUN", script, run(text, env={"SR_SUMMARY": "mine", "MORE": 1}))
        assert isinstance(done, Done)
        assert ("info", "one") in runner.log.lines
        pairs = (tmp_path / "env").read_bytes().decode().split("\0")
        env = dict(pair.split("=", 1) for pair in pairs if pair)
        context = json.loads(env["SR_CONTEXT_RAW"])
        script_variables = {name: value for name, value in env.items() if name.startswith("SR_")}
        del script_variables["SR_CONTEXT_RAW"]
        assert script_variables == {
            "SR_DEPLOYMENT_ID": "d",
            "SR_APPLICATION_ID": "a",
            "SR_APPLICATION_NAME": "shop",
            "SR_TRIGGERED_AT": "1700000000",
            "SR_TRIGGERED_COMMIT_HASH": commit,
            "SR_TRIGGERED_COMMANDER": "ada",
            "SR_REPOSITORY_URL": "https://git.example/shop",
            "SR_SUMMARY": "mine",
            "SR_IS_ROLLBACK": "false",
            "SR_LABELS_ENV": "demo",
            "SR_ATTEMPT": "1",
        }
        assert env["MORE"] == "1"
        assert context == {
            "deploymentID": "d",
            "applicationID": "a",
            "applicationName": "shop",
            "triggeredAt": 1700000000,
            "triggeredCommitHash": commit,
            "triggeredCommander": "ada",
            "repositoryURL": "https://git.example/shop",
            "summary": "Sync with the pipeline",
            "labels": {"env": "demo", "not=a-name": "x"},
        }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo no >&2; exit 3", "the script exited with code 3"),
        ("kill -9 $$", "the script was killed by signal 9"),
    ],
)
async def test_a_script_that_fails_fails_the_stage(tmp_path: Path, text: str, reason: str) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        failed = await runner.run("SCRIPT_RUN", script, run(text))
        assert failed == Failed(reason=reason, remedy="see the last lines of the stage log")


async def test_an_interrupted_script_runs_again_with_the_next_attempt_number(tmp_path: Path) -> None:
    text = f"echo $SR_ATTEMPT >> {tmp_path}/attempts; [ $SR_ATTEMPT = 1 ] && sleep 600; true"

    async def started() -> bool:
        return (tmp_path / "attempts").exists() and (tmp_path / "attempts").read_text() == "1\n"

    async with open_runner(tmp_path, FILES) as runner:
        async with runner.calls("SCRIPT_RUN", script, run(text)) as call:
            await call()
            running = asyncio.create_task(call())
            await eventually(started)
            running.cancel()
            await asyncio.wait([running], timeout=60)
        assert isinstance(await runner.run("SCRIPT_RUN", script, run(text)), Done)
        assert (tmp_path / "attempts").read_text() == "1\n2\n"
        assert "running it again (SR_ATTEMPT=2)" in runner.log.text


async def roll_back(runner: StageRunner, folder: Path, on_rollback: str) -> Done | Failed | Again:
    return await runner.run(
        "SCRIPT_RUN_ROLLBACK",
        STAGES["SCRIPT_RUN_ROLLBACK"],
        rollback=True,
        metadata={"onRollback": on_rollback, "env": '{"WHERE": "' + str(folder) + '/undone"}'},
    )


async def test_a_script_s_rollback_runs_as_planned(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        done = await roll_back(runner, tmp_path, 'echo "$SR_IS_ROLLBACK $(cat value)" > $WHERE')
        assert isinstance(done, Done)
        assert (tmp_path / "undone").read_text() == "true one\n"


async def test_a_script_without_on_rollback_runs_nothing(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        assert await roll_back(runner, tmp_path, "") == Done(note="Nothing to run")


async def test_a_custom_sync_rollback_runs_the_command_of_the_previous_commit(
    tmp_path: Path,
) -> None:
    def file(word: str) -> str:
        command = f'echo {word} $NAME $(cat value) >> {tmp_path}/synced; test -z "$SR_DEPLOYMENT_ID"'
        return app_file({"name": "CUSTOM_SYNC", "with": {"run": command, "envs": {"NAME": "shop"}}})

    async with open_runner(tmp_path, {**FILES, "app.pipecd.yaml": file("first")}) as runner:
        before = runner.deployment.trigger.commit.hash
        commit = runner.clone.commit_and_push(
            "Change", {"app/app.pipecd.yaml": file("second"), "app/value": "two\n"}
        )
        later = runner.at(commit, running=before)
        command = yaml.safe_load(file("second"))["spec"]["pipeline"]["stages"][0]["with"]
        options = CustomSyncOptions.model_validate(command)
        assert isinstance(await later.run("CUSTOM_SYNC", STAGES["CUSTOM_SYNC"], options), Done)
        undo = STAGES["CUSTOM_SYNC_ROLLBACK"]
        assert isinstance(await later.run("CUSTOM_SYNC_ROLLBACK", undo, rollback=True), Done)
        assert (tmp_path / "synced").read_text() == "second shop two\nfirst shop one\n"


async def test_a_custom_sync_cannot_roll_back_to_a_commit_without_custom_sync(tmp_path: Path) -> None:
    async with open_runner(tmp_path, FILES) as runner:
        undo = STAGES["CUSTOM_SYNC_ROLLBACK"]
        later = runner.at(
            runner.deployment.trigger.commit.hash, running=runner.deployment.trigger.commit.hash
        )
        failed = await later.run("CUSTOM_SYNC_ROLLBACK", undo, rollback=True)
        assert isinstance(failed, Failed)
        with pytest.raises(Refused, match="there is no earlier successful deployment"):
            await runner.run("CUSTOM_SYNC_ROLLBACK", undo, rollback=True)

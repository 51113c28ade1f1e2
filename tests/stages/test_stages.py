"""Stages without a platform: they wait, ask people and run scripts, and go on where they were."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from pipecd.config.stages import CustomSyncOptions, ScriptRunOptions, WaitApprovalOptions, WaitOptions
from pipecd.errors import ConfigError, Refused
from pipecd.model.stage import Again, Done, Failed
from pipecd.model.status import StageStatus
from pipecd.stages import STAGES
from tests.eventually import eventually
from tests.stages.play import Play, notes, order, stage_play

wait, approval, script = STAGES["WAIT"], STAGES["WAIT_APPROVAL"], STAGES["SCRIPT_RUN"]


def app_file(*stages: dict[str, object]) -> str:
    spec: dict[str, object] = {"name": "shop"}
    if stages:
        spec["pipeline"] = {"stages": list(stages)}
    return yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": "TerraformApp", "spec": spec})


FILES: dict[str, str | None] = {"app.pipecd.yaml": app_file(), "value": "one\n"}


async def test_wait_ends_when_its_time_has_passed_also_across_a_restart(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        play.now = 1000.0
        options = WaitOptions.model_validate({"duration": "30s"})
        async with play.calls("WAIT", wait, options) as call:
            assert await call() == Again(saved={"startTime": "1000"}, note="Waits for 30 s")
            play.now = 1025.0
            assert (await call()).after == 5.0
        async with play.calls("WAIT", wait, options) as call:
            play.now = 1029.5
            assert isinstance(await call(), Again)
            play.now = 1030.0
            assert await call() == Done(note="Waited for 30 s")


async def test_wait_says_how_long_it_still_takes(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        play.now = 1000.0
        await play.stage("WAIT", wait, WaitOptions())
        assert play.now == 1060.0
        assert [line for _, line in play.log.lines] == [
            "Waiting for 60 s",
            *(f"{left} s to go" for left in (50, 40, 30, 20, 10)),
            "Waited for 60 s",
        ]


async def test_one_approval_is_enough_and_people_are_told_once(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        async with play.calls("WAIT_APPROVAL", approval, WaitApprovalOptions()) as call:
            assert (await call()).note == "Waiting for the approval"
            assert isinstance(await call(), Again)
        async with play.calls("WAIT_APPROVAL", approval, WaitApprovalOptions()) as call:
            assert isinstance(await call(), Again)
            play.orders.append(order("ada"))
            done = await call()
        assert done == Done(note="Approved by ada", saved={"ApprovedBy": "ada"})
        assert notes(play.told) == ["DEPLOYMENT_WAIT_APPROVAL", "DEPLOYMENT_APPROVED"]
        _, fields = play.told[0]
        assert (fields["application"], fields["deployment"]) == ("shop", "d")


async def test_approvals_of_different_people_are_counted_and_the_same_person_once(tmp_path: Path) -> None:
    options = WaitApprovalOptions.model_validate({"approvers": ["ada", "bob", "eve"], "minApproverNum": 2})
    async with stage_play(tmp_path, FILES) as play:
        async with play.calls("WAIT_APPROVAL", approval, options) as call:
            await call()
            play.orders[:] = [order("ada"), order("mallory")]
            first = await call()
            assert isinstance(first, Again)
            assert first.saved == {"ApprovedBy": "ada"}
            assert first.note == "Approved by ada; 1 to go"
            play.orders[:] = [order("ada")]
            assert isinstance(await call(), Again)
            play.orders[:] = [order("bob")]
            done = await call()
        assert done == Done(note="Approved by ada, bob", saved={"ApprovedBy": "ada, bob"})
        assert "mallory is not among the approvers; this does not count" in play.log.text
        assert "ada has approved already, which counts once" in play.log.text


async def test_an_approval_that_is_there_before_the_stage_begins_counts(tmp_path: Path) -> None:
    """An agent that was away finds both: the stage to begin, and the answer to it."""
    async with stage_play(tmp_path, FILES) as play:
        play.orders.append(order("ada"))
        async with play.calls("WAIT_APPROVAL", approval, WaitApprovalOptions()) as call:
            done = await call()
        assert isinstance(done, Done)
        assert done.saved == {"pipecd/asked": "true", "ApprovedBy": "ada"}
        assert notes(play.told) == ["DEPLOYMENT_WAIT_APPROVAL", "DEPLOYMENT_APPROVED"]


async def test_an_approval_may_be_skipped_by_who_may_approve(tmp_path: Path) -> None:
    options = WaitApprovalOptions.model_validate({"approvers": ["ada"]})
    async with stage_play(tmp_path, FILES) as play, play.calls("WAIT_APPROVAL", approval, options) as call:
        await call()
        play.orders[:] = [order("mallory", approve=False)]
        assert isinstance(await call(), Again)
        play.orders[:] = [order("ada", approve=False)]
        done = await call()
        assert done.status is StageStatus.SKIPPED
        assert done.saved == {"SkippedBy": "ada"}


def run(text: str, **more: object) -> ScriptRunOptions:
    return ScriptRunOptions.model_validate({"run": text, **more})


async def test_a_script_runs_in_the_application_s_directory_with_what_it_may_want_to_know(
    tmp_path: Path,
) -> None:
    async with stage_play(tmp_path, FILES) as play:
        commit = play.deployment.trigger.commit.hash
        text = f"cat value; env -0 > {tmp_path}/env"
        done = await play.stage("SCRIPT_RUN", script, run(text, env={"SR_SUMMARY": "mine", "MORE": 1}))
        assert isinstance(done, Done)
        assert ("info", "one") in play.log.lines
        pairs = (tmp_path / "env").read_bytes().decode().split("\0")
        env = dict(pair.split("=", 1) for pair in pairs if pair)
        context = json.loads(env["SR_CONTEXT_RAW"])
        told = {name: value for name, value in env.items() if name.startswith("SR_")}
        del told["SR_CONTEXT_RAW"]
        assert told == {
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
            "labels": {"env": "demo"},
        }


@pytest.mark.parametrize(
    ("text", "reason"),
    [("echo no >&2; exit 3", "the script ended with code 3"), ("kill -9 $$", "the script ended by signal 9")],
)
async def test_a_script_that_fails_fails_the_stage(tmp_path: Path, text: str, reason: str) -> None:
    async with stage_play(tmp_path, FILES) as play:
        failed = await play.stage("SCRIPT_RUN", script, run(text))
        assert failed == Failed(reason=reason, remedy="its last lines in the log say why")


async def test_an_impossible_environment_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        with pytest.raises(ConfigError, match="'A=B' cannot be a variable"):
            await play.stage("SCRIPT_RUN", script, run("true", env={"A=B": "x"}))


async def test_a_script_that_was_cut_off_runs_again_and_can_know_it(tmp_path: Path) -> None:
    text = f"echo $SR_ATTEMPT >> {tmp_path}/attempts; [ $SR_ATTEMPT = 1 ] && sleep 600; true"

    async def begun() -> bool:
        return (tmp_path / "attempts").exists() and (tmp_path / "attempts").read_text() == "1\n"

    async with stage_play(tmp_path, FILES) as play:
        async with play.calls("SCRIPT_RUN", script, run(text)) as call:
            await call()
            running = asyncio.create_task(call())
            await eventually(begun)
            running.cancel()
            await asyncio.wait([running], timeout=60)
        assert isinstance(await play.stage("SCRIPT_RUN", script, run(text)), Done)
        assert (tmp_path / "attempts").read_text() == "1\n2\n"
        assert "running it again (SR_ATTEMPT=2)" in play.log.text


async def rolled_back(play: Play, folder: Path, on_rollback: str) -> Done | Failed | Again:
    return await play.stage(
        "SCRIPT_RUN_ROLLBACK",
        STAGES["SCRIPT_RUN_ROLLBACK"],
        rollback=True,
        metadata={"onRollback": on_rollback, "env": '{"WHERE": "' + str(folder) + '/undone"}'},
    )


async def test_a_script_s_rollback_runs_as_it_was_planned(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        done = await rolled_back(play, tmp_path, 'echo "$SR_IS_ROLLBACK $(cat value)" > $WHERE')
        assert isinstance(done, Done)
        assert (tmp_path / "undone").read_text() == "true one\n"


async def test_a_script_without_a_rollback_needs_none(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        assert await rolled_back(play, tmp_path, "") == Done(note="Nothing to run")


async def test_a_custom_sync_runs_its_command_and_its_rollback_that_of_the_commit_before(
    tmp_path: Path,
) -> None:
    def file(word: str) -> str:
        command = f'echo {word} $NAME $(cat value) >> {tmp_path}/synced; test -z "$SR_DEPLOYMENT_ID"'
        return app_file({"name": "CUSTOM_SYNC", "with": {"run": command, "envs": {"NAME": "shop"}}})

    async with stage_play(tmp_path, {**FILES, "app.pipecd.yaml": file("first")}) as play:
        before = play.deployment.trigger.commit.hash
        commit = play.clone.commit_and_push(
            "Change", {"app/app.pipecd.yaml": file("second"), "app/value": "two\n"}
        )
        later = play.at(commit, running=before)
        command = yaml.safe_load(file("second"))["spec"]["pipeline"]["stages"][0]["with"]
        options = CustomSyncOptions.model_validate(command)
        assert isinstance(await later.stage("CUSTOM_SYNC", STAGES["CUSTOM_SYNC"], options), Done)
        undo = STAGES["CUSTOM_SYNC_ROLLBACK"]
        assert isinstance(await later.stage("CUSTOM_SYNC_ROLLBACK", undo, rollback=True), Done)
        assert (tmp_path / "synced").read_text() == "second shop two\nfirst shop one\n"


async def test_a_custom_sync_cannot_go_back_to_a_commit_of_another_kind(tmp_path: Path) -> None:
    async with stage_play(tmp_path, FILES) as play:
        undo = STAGES["CUSTOM_SYNC_ROLLBACK"]
        later = play.at(play.deployment.trigger.commit.hash, running=play.deployment.trigger.commit.hash)
        failed = await later.stage("CUSTOM_SYNC_ROLLBACK", undo, rollback=True)
        assert isinstance(failed, Failed)
        with pytest.raises(Refused, match="nothing was deployed before"):
            await play.stage("CUSTOM_SYNC_ROLLBACK", undo, rollback=True)

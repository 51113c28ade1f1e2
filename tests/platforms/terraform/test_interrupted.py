"""An apply interrupted by a kill of the agent, a cancellation or a shutdown, which unlocks the state."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from pipecd.errors import Refused
from pipecd.model.stage import Done, Failed
from pipecd.model.status import StageStatus
from pipecd.platforms.terraform.config import PlanOptions
from pipecd.platforms.terraform.stages import apply, plan, sync
from tests.eventually import eventually
from tests.platforms.aws.stage_runner import assert_succeeded
from tests.platforms.terraform import killed_agent
from tests.platforms.terraform.killed_agent import load_memory, save_memory
from tests.platforms.terraform.shop import EMBEDDED, app_file, data, shop_runner, values
from tests.programs import start_function
from tests.stages.stage_runner import StageRunner

KILLS = 5


def slow(folder: Path, value: str = "1") -> str:
    """`a` counts its creations; `b` is created after it and hangs the first time."""
    count = f"echo made >> {folder}/count"
    hang = f"if [ -e {folder}/begun ]; then true; else touch {folder}/begun; sleep 600; fi"
    return f"""
resource "terraform_data" "a" {{
  input = "{value}"
  provisioner "local-exec" {{
    command = "{count}"
  }}
}}
resource "terraform_data" "b" {{
  input = terraform_data.a.output
  provisioner "local-exec" {{
    command = "{hang}"
  }}
}}
"""


async def exists(path: Path) -> bool:
    return path.exists()


@asynccontextmanager
async def killed_while_applying(folder: Path) -> AsyncIterator[StageRunner]:
    """The runner of the next process, after one that created `a` and was killed while creating `b`."""
    async with shop_runner(folder, slow(folder)) as runner:
        await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        save_memory(folder, runner)
    agent = start_function(killed_agent.main, folder, output=folder / "agent.log")
    try:
        await eventually(lambda: exists(folder / "begun"))
    finally:
        agent.kill()
    assert values(folder / "state") == {"a": "1"}
    async with shop_runner(folder, "") as runner:
        load_memory(folder, runner)
        yield runner


async def test_after_a_kill_the_remaining_changes_are_applied_and_nothing_is_created_twice(
    tmp_path: Path,
) -> None:
    async with killed_while_applying(tmp_path) as runner:
        done = assert_succeeded(await runner.run("TERRAFORM_APPLY", apply))
        assert done.note == "Applied: 2 added, 0 changed, 0 destroyed"
        assert values(tmp_path / "state") == {"a": "1", "b": "1"}
        assert (tmp_path / "count").read_text() == "made\n"
        assert "The remaining changes are part of the shown plan: 1 to add" in runner.log.text


async def test_after_a_kill_changes_that_were_not_shown_are_not_applied(tmp_path: Path) -> None:
    async with killed_while_applying(tmp_path) as runner:
        # `a` is changed manually. Reverting it would be an update, which was not shown.
        state = (tmp_path / "state").read_text().replace('"1"', '"by hand"')
        (tmp_path / "state").write_text(state.replace('"serial": ', '"serial": 1'))
        failed = await runner.run("TERRAFORM_APPLY", apply)
        assert isinstance(failed, Failed)
        assert failed.reason == "the remaining changes are not part of the shown plan: terraform_data.a"
        assert "b" not in values(tmp_path / "state")


async def test_killed_after_the_apply_succeeds(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        async with runner.calls("TERRAFORM_APPLY", apply) as call:
            await call()
            before_apply = runner.deployment
            assert isinstance(await call(), Done)
        # The agent was killed before it could report the result.
        runner.deployment = before_apply
        done = assert_succeeded(await runner.run("TERRAFORM_APPLY", apply))
        assert done.note == "Applied: 1 added, 0 changed, 0 destroyed"
        assert values(tmp_path / "state") == {"a": "1"}


async def test_cancelling_stops_terraform_which_saves_and_unlocks_the_state(
    tmp_path: Path,
) -> None:
    file = app_file(commandFlags={"shared": ["-lock-timeout=0s"]})
    async with shop_runner(tmp_path, slow(tmp_path), file=file, provider=EMBEDDED) as runner:
        running = asyncio.create_task(runner.run("TERRAFORM_SYNC", sync))
        await eventually(lambda: exists(tmp_path / "begun"))
        assert (tmp_path / ".state.lock.info").exists()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(300):
                await running
        # Terraform and the script get the signal at the same time, and whichever ends first reports it.
        assert re.search("Interrupt received|signal: interrupt", runner.log.text)
        assert not (tmp_path / ".state.lock.info").exists()
        # `b` was interrupted, and Terraform recorded it as tainted.
        assert values(tmp_path / "state")["a"] == "1"
        done = await runner.at(runner.deployment.trigger.commit.hash, deployment_id="e").run(
            "TERRAFORM_SYNC", sync
        )
        assert isinstance(done, Done)
        assert values(tmp_path / "state") == {"a": "1", "b": "1"}
        assert (tmp_path / "count").read_text() == "made\n"


async def test_an_apply_interrupted_by_a_shutdown_is_continued_by_the_next_process(tmp_path: Path) -> None:
    """An interrupted resource is tainted, so the remaining changes replace it; its creation was shown."""
    async with shop_runner(tmp_path, slow(tmp_path), provider=EMBEDDED) as runner:
        await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        async with runner.calls("TERRAFORM_APPLY", apply) as call:
            await call()
            running = asyncio.create_task(call())
            await eventually(lambda: exists(tmp_path / "begun"))
            running.cancel()
            await asyncio.wait([running], timeout=300)
        done = assert_succeeded(await runner.run("TERRAFORM_APPLY", apply))
        assert done.note == "Applied: 2 added, 0 changed, 0 destroyed"
        assert values(tmp_path / "state") == {"a": "1", "b": "1"}
        assert (tmp_path / "count").read_text() == "made\n"


async def test_a_locked_state_error_names_the_holder_and_how_to_unlock(tmp_path: Path) -> None:
    file = app_file(commandFlags={"shared": ["-lock-timeout=0s"]})
    async with shop_runner(tmp_path, slow(tmp_path), file=file) as runner:
        other = runner.at(runner.deployment.trigger.commit.hash, deployment_id="e")
        running = asyncio.create_task(runner.run("TERRAFORM_SYNC", sync))
        try:
            await eventually(lambda: exists(tmp_path / "begun"))
            with pytest.raises(Refused) as error:
                await other.run("TERRAFORM_SYNC", sync)
            assert error.value.what.startswith("the state is locked by ")
            assert f"@{os.uname().nodename} since " in error.value.what
            assert "`terraform force-unlock " in error.value.remedy
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=300)


def count_created(folder: Path) -> int:
    made = folder / "made"
    return len(made.read_text().split()) if made.exists() else 0


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(2))
async def test_repeatedly_killed_the_apply_completes_the_shown_plan(tmp_path: Path, seed: int) -> None:
    """The agent is killed soon after its start, and then at random times, each after a creation.

    Each resource depends on the previous one, so that a kill interrupts at most one. The last one is not
    created before the kills are over.
    """
    random, names = Random(seed), "abcdef"
    pause = dict.fromkeys(names, "sleep 0.4")
    pause["f"] = f"until [ -e {tmp_path}/finish ]; do sleep 0.1; done"
    chain = "".join(
        f'''
resource "terraform_data" "{name}" {{
  input = "{f"${{terraform_data.{before}.output}}{name}" if before else name}"
  provisioner "local-exec" {{
    command = "{pause[name]}; echo {name} >> {tmp_path}/made"
  }}
}}
'''
        for before, name in pairwise(["", *names])
    )
    async with shop_runner(tmp_path, chain):
        pass
    log = tmp_path / "agent.log"
    for number in range(KILLS):
        agent, created = start_function(killed_agent.main, tmp_path, output=log), count_created(tmp_path)

        async def has_created_one(before: int = created) -> bool:
            return count_created(tmp_path) > min(before, len(names) - 2)

        try:
            if number:
                await eventually(has_created_one)
            await asyncio.sleep(random.uniform(0.0, 0.4))
            assert agent.poll() is None
        finally:
            agent.kill()
    (tmp_path / "finish").touch()
    agent = start_function(killed_agent.main, tmp_path, output=log)
    try:
        assert await asyncio.to_thread(agent.wait, 300) == 0, log.read_text()
    finally:
        agent.kill()
    created_names = (tmp_path / "made").read_text().split()
    assert set(created_names) == set(names)
    assert len(created_names) <= len(names) + KILLS
    assert values(tmp_path / "state")["f"] == names
    async with shop_runner(tmp_path, "") as runner:
        load_memory(tmp_path, runner)
        assert [stage.status for stage in runner.deployment.stages] == [StageStatus.SUCCESS] * 2

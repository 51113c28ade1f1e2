"""An apply that is cut off: by a kill of the agent, by a person, by a shutdown. Nothing stays locked."""

import asyncio
import os
import sys
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
from tests.platforms.terraform.killed_agent import recall, remember
from tests.platforms.terraform.shop import app_file, data, shop_runner, values
from tests.stages.stage_runner import StageRunner


def slow(folder: Path, value: str = "1") -> str:
    """`a` counts how often it is made; `b`, after it, hangs the first time that it is made."""
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


async def agent(folder: Path) -> asyncio.subprocess.Process:
    argv = [sys.executable, "-m", "tests.platforms.terraform.killed_agent", str(folder)]
    return await asyncio.create_subprocess_exec(*argv)


@asynccontextmanager
async def killed_while_applying(folder: Path) -> AsyncIterator[StageRunner]:
    """The runner of the next process. The one before made `a`, and was killed while it made `b`."""
    async with shop_runner(folder, slow(folder)) as runner:
        await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        remember(folder, runner)
    child = await agent(folder)
    try:
        await eventually(lambda: exists(folder / "begun"))
    finally:
        child.kill()
        await asyncio.wait_for(child.wait(), 60)
    assert values(folder / "state") == {"a": "1"}
    async with shop_runner(folder, "") as runner:
        recall(folder, runner)
        yield runner


async def test_after_a_kill_the_rest_of_the_shown_plan_is_applied_and_nothing_is_made_twice(
    tmp_path: Path,
) -> None:
    async with killed_while_applying(tmp_path) as runner:
        done = await runner.run("TERRAFORM_APPLY", apply)
        assert done.note == "Applied: 2 added, 0 changed, 0 destroyed"
        assert values(tmp_path / "state") == {"a": "1", "b": "1"}
        assert (tmp_path / "count").read_text() == "made\n"
        assert "The rest is part of the plan that was shown: 1 to add" in runner.log.text


async def test_after_a_kill_what_was_not_shown_is_not_applied(tmp_path: Path) -> None:
    async with killed_while_applying(tmp_path) as runner:
        # Meanwhile somebody changes `a` by hand: bringing it back would be an update, and none was shown.
        state = (tmp_path / "state").read_text().replace('"1"', '"by hand"')
        (tmp_path / "state").write_text(state.replace('"serial": ', '"serial": 1'))
        failed = await runner.run("TERRAFORM_APPLY", apply)
        assert isinstance(failed, Failed)
        assert failed.reason == "what is left to do is not what the plan had shown: terraform_data.a"
        assert "b" not in values(tmp_path / "state")


async def test_killed_when_all_was_applied_ends_well(tmp_path: Path) -> None:
    async with shop_runner(tmp_path, data("a", "1")) as runner:
        await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        async with runner.calls("TERRAFORM_APPLY", apply) as call:
            await call()
            noted = runner.deployment
            assert isinstance(await call(), Done)
        # The agent was killed before that could be reported: the next one knows only what was noted.
        runner.deployment = noted
        done = await runner.run("TERRAFORM_APPLY", apply)
        assert done.note == "Applied: 1 added, 0 changed, 0 destroyed"
        assert values(tmp_path / "state") == {"a": "1"}


async def test_cancelling_stops_terraform_which_keeps_what_it_made_and_unlocks_the_state(
    tmp_path: Path,
) -> None:
    file = app_file(commandFlags={"shared": ["-lock-timeout=0s"]})
    async with shop_runner(tmp_path, slow(tmp_path), file=file) as runner:
        running = asyncio.create_task(runner.run("TERRAFORM_SYNC", sync))
        await eventually(lambda: exists(tmp_path / "begun"))
        assert (tmp_path / ".state.lock.info").exists()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(300):
                await running
        assert "Interrupt received" in runner.log.text
        assert not (tmp_path / ".state.lock.info").exists()
        # `b` was cut off, and Terraform wrote down that it has to be made again.
        assert values(tmp_path / "state")["a"] == "1"
        done = await runner.at(runner.deployment.trigger.commit.hash, deployment_id="e").stage(
            "TERRAFORM_SYNC", sync
        )
        assert isinstance(done, Done)
        assert values(tmp_path / "state") == {"a": "1", "b": "1"}
        assert (tmp_path / "count").read_text() == "made\n"


async def test_a_shutdown_in_the_middle_is_taken_up_by_the_next_process(tmp_path: Path) -> None:
    """A resource that was cut off is tainted, so that the rest replaces it; making it was shown."""
    async with shop_runner(tmp_path, slow(tmp_path)) as runner:
        await runner.run("TERRAFORM_PLAN", plan, PlanOptions())
        async with runner.calls("TERRAFORM_APPLY", apply) as call:
            await call()
            running = asyncio.create_task(call())
            await eventually(lambda: exists(tmp_path / "begun"))
            running.cancel()
            await asyncio.wait([running], timeout=300)
        done = await runner.run("TERRAFORM_APPLY", apply)
        assert done.note == "Applied: 2 added, 0 changed, 0 destroyed"
        assert values(tmp_path / "state") == {"a": "1", "b": "1"}
        assert (tmp_path / "count").read_text() == "made\n"


async def test_a_locked_state_says_who_holds_it_and_how_to_free_it(tmp_path: Path) -> None:
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


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(2))
async def test_killed_again_and_again_it_ends_with_all_that_was_shown(tmp_path: Path, seed: int) -> None:
    """Each resource waits for the one before, so that a kill cuts off one at most."""
    random, names = Random(seed), "abcdef"
    chain = "".join(
        f'''
resource "terraform_data" "{name}" {{
  input = "{f"${{terraform_data.{before}.output}}{name}" if before else name}"
  provisioner "local-exec" {{
    command = "sleep 0.4; echo {name} >> {tmp_path}/made"
  }}
}}
'''
        for before, name in pairwise(["", *names])
    )
    async with shop_runner(tmp_path, chain):
        pass
    kills = 0
    async with asyncio.timeout(500):
        while (child := await agent(tmp_path)) and kills < 8:
            try:
                await asyncio.wait_for(child.wait(), random.uniform(0.5, 3.5))
                break
            except TimeoutError:
                child.kill()
                await child.wait()
                kills += 1
        assert await child.wait() == 0
    made = (tmp_path / "made").read_text().split()
    assert kills
    assert set(made) == set(names)
    assert len(made) <= len(names) + kills
    assert values(tmp_path / "state")["f"] == names
    async with shop_runner(tmp_path, "") as runner:
        recall(tmp_path, runner)
        assert [stage.status for stage in runner.deployment.stages] == [StageStatus.SUCCESS] * 2

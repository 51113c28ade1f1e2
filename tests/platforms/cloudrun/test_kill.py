"""Invariants 4 and 6: the agent is killed at random moments of every stage, and continues."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipecd.quickstart.cloud_run import CloudRun
from tests.platforms.aws.stage_runner import AwsRunner, Killer, assert_succeeded
from tests.platforms.cloudrun.conftest import job, shares, tags


@pytest.mark.parametrize("seed", range(12))
async def test_a_killed_promotion_ends_as_an_undisturbed_one(
    cloud: CloudRun, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(cloud, seed, times=10)  # type: ignore[arg-type]
    assert_succeeded(await runner.run("CLOUDRUN_SYNC", killer=killer))
    runner = runner.next_deployment(checkout("v2"))
    for number, percent in enumerate((20, 60)):
        assert_succeeded(
            await runner.run("CLOUDRUN_PROMOTE", killer=killer, stage_id=f"p{number}", percent=percent)
        )
        assert shares(cloud) == {"v2": percent, "v1": 100 - percent}
    if seed % 2:
        assert_succeeded(await runner.run("ROLLBACK", killer=killer))
        assert shares(cloud) == {"v1": 100}
    else:
        assert_succeeded(await runner.run("CLOUDRUN_PROMOTE", killer=killer, stage_id="p2", percent=100))
        assert shares(cloud) == {"v2": 100}
    assert tags(cloud) == {}
    assert len(cloud.objects["revisions"]) == 2
    assert killer.kills


@pytest.mark.parametrize("seed", range(6))
async def test_a_killed_job_runs_once(
    cloud: CloudRun, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    runner.target = checkout("j1", job("j1"), input={"jobManifestFile": "job.yaml"})
    killer = Killer(cloud, seed)  # type: ignore[arg-type]
    assert_succeeded(await runner.run("CLOUDRUN_JOB_SYNC", killer=killer, run=True))
    assert len(cloud.objects["executions"]) == 1

"""Invariants 4 and 6: the agent is killed at random moments of every stage, and continues."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipecd.quickstart.cloud_run import CloudRun
from tests.platforms.aws.stage_runner import AwsRunner, Killer, assert_succeeded, failure_text
from tests.platforms.cloudrun.conftest import job, service, shares, tags


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


@pytest.mark.parametrize("seed", range(6))
async def test_a_killed_rollback_of_a_failure_ends_as_an_undisturbed_one(
    cloud: CloudRun, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    """With revisions that are deleted, before and after."""
    killer = Killer(cloud, seed, times=12)  # type: ignore[arg-type]
    spec = {"input": {"keepRevisions": 0}}
    runner.target = checkout("first", service("v1"), **spec)
    assert_succeeded(await runner.run("CLOUDRUN_SYNC", killer=killer))
    runner = runner.next_deployment(checkout("v2", **spec))
    assert_succeeded(await runner.run("CLOUDRUN_SYNC", killer=killer))
    failing = runner.next_deployment(checkout("broken", **spec))
    failure_text(await failing.run("CLOUDRUN_SYNC", killer=killer))
    assert_succeeded(await failing.run("ROLLBACK", killer=killer))
    assert shares(cloud) == {"v2": 100} and tags(cloud) == {}
    names = [name.split("-")[1] for name in cloud.objects["revisions"]]
    assert names == ["v2", "broken"], "the first one was deleted, each was created once"


@pytest.mark.parametrize("seed", range(4))
async def test_a_job_that_is_killed_while_its_stage_is_stopped_is_cancelled(
    cloud: CloudRun, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    runner.target = checkout("slow", job("slow"), input={"jobManifestFile": "job.yaml"})
    killer = Killer(cloud, seed)  # type: ignore[arg-type]
    await runner.run("CLOUDRUN_JOB_SYNC", killer=killer, calls=12, run=True)
    await runner.stop("CLOUDRUN_JOB_SYNC", run=True)
    await runner.stop("CLOUDRUN_JOB_SYNC", run=True)
    (execution,) = cloud.objects["executions"].values()
    assert execution["status"]["cancelledCount"] == 1

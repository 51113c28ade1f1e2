"""Repeatedly interrupted stages end as uninterrupted ones do, with no effect applied twice.

Stages are interrupted by cancelling them, at calls of every kind, which takes seconds.
`tests.faults.test_aws_kills` kills the agent's process.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.stage_runner import AwsRunner, Killer, assert_succeeded
from tests.platforms.ecs.cloud import ALL_TO_PRIMARY, CLUSTER, Cloud
from tests.platforms.ecs.test_stages import PIPELINE


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(2))
async def test_a_pipeline_killed_at_random_points_has_the_same_result(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(aws, seed, times=30)
    assert_succeeded(await runner.run("ECS_SYNC", killer=killer))
    cloud.serving = True
    second = runner.next_deployment(checkout("v2"))
    for name, stage_id, options in PIPELINE:
        assert_succeeded(await second.run(name, stage_id=stage_id, killer=killer, **options))
    assert cloud.running() == {"v2": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY
    assert cloud.active_revisions() == ["v2"], "every unused task definition was deregistered"
    counts = Counter(aws.changes)
    assert counts["ecs.CreateService"] == 1
    assert counts["ecs.CreateTaskSet"] == 3 and counts["ecs.DeleteTaskSet"] == 2
    assert counts["ecs.RegisterTaskDefinition"] == 3
    assert killer.kills >= 8


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(2))
async def test_a_rollback_killed_at_random_points_has_the_same_result(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(aws, seed + 100, times=30)
    assert_succeeded(await runner.run("ECS_SYNC"))
    cloud.serving = True
    second = runner.next_deployment(checkout("v2"))
    for name, stage_id, options in PIPELINE[:3]:
        assert_succeeded(await second.run(name, stage_id=stage_id, **options))
    del aws.calls[:]
    assert_succeeded(await second.run("ROLLBACK", killer=killer))
    assert cloud.running() == {"v1": "PRIMARY"} and cloud.weights() == ALL_TO_PRIMARY
    assert cloud.active_revisions() == ["v1"]
    counts = Counter(aws.changes)
    assert counts["ecs.CreateTaskSet"] == 1 and counts["ecs.DeleteTaskSet"] == 2
    assert counts["ecs.RegisterTaskDefinition"] == 1
    assert killer.kills >= 4


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(4))
async def test_a_standalone_task_killed_at_random_points_starts_once(
    aws: Emulator, cloud: Cloud, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    vpc = {"subnets": [cloud.subnet], "securityGroups": [cloud.group]}
    app_input = {"serviceDefinitionFile": None, "clusterArn": CLUSTER, "awsvpcConfiguration": vpc}
    runner.target = checkout("task", app_input=app_input)
    assert_succeeded(await runner.run("ECS_SYNC", killer=Killer(aws, seed)))
    assert aws.changes == ["ecs.RegisterTaskDefinition", "ecs.RunTask"]

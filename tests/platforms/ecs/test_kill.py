"""Stages are cut off again and again: each deployment ends as if it had not been, with no effect doubled.

They are cut off by cancelling: at calls of every kind, in seconds. `tests.faults.test_aws_kills` kills the
agent's process.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platforms.aws.bench import Bench, Killer, succeeded
from tests.platforms.aws.emulator import Emulator
from tests.platforms.ecs.cloud import CLUSTER, WHOLE, World
from tests.platforms.ecs.test_stages import PIPELINE


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_points_a_pipeline_ends_the_same(
    aws: Emulator, world: World, bench: Bench, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(aws, seed, times=30)
    succeeded(await bench.run("ECS_SYNC", killed=killer))
    world.serving = True
    second = bench.next(checkout("v2"))
    for name, stage_id, options in PIPELINE:
        succeeded(await second.run(name, stage_id=stage_id, killed=killer, **options))
    assert world.running() == {"v2": "PRIMARY"} and world.weights() == WHOLE
    assert world.active_revisions() == ["v2"], "nothing that was registered was forgotten"
    counts = Counter(aws.changes)
    assert counts["ecs.CreateService"] == 1
    assert counts["ecs.CreateTaskSet"] == 3 and counts["ecs.DeleteTaskSet"] == 2
    assert counts["ecs.RegisterTaskDefinition"] == 3
    assert killer.kills >= 8


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_points_a_rollback_ends_the_same(
    aws: Emulator, world: World, bench: Bench, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(aws, seed + 100, times=30)
    succeeded(await bench.run("ECS_SYNC"))
    world.serving = True
    second = bench.next(checkout("v2"))
    for name, stage_id, options in PIPELINE[:3]:
        succeeded(await second.run(name, stage_id=stage_id, **options))
    del aws.calls[:]
    succeeded(await second.run("ROLLBACK", killed=killer))
    assert world.running() == {"v1": "PRIMARY"} and world.weights() == WHOLE
    assert world.active_revisions() == ["v1"]
    counts = Counter(aws.changes)
    assert counts["ecs.CreateTaskSet"] == 1 and counts["ecs.DeleteTaskSet"] == 2
    assert counts["ecs.RegisterTaskDefinition"] == 1
    assert killer.kills >= 4


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_points_a_standalone_task_starts_once(
    aws: Emulator, world: World, bench: Bench, checkout: Callable[..., Path], seed: int
) -> None:
    vpc = {"subnets": [world.subnet], "securityGroups": [world.group]}
    given = {"serviceDefinitionFile": None, "clusterArn": CLUSTER, "awsvpcConfiguration": vpc}
    bench.target = checkout("task", given=given)
    succeeded(await bench.run("ECS_SYNC", killed=Killer(aws, seed)))
    assert aws.changes == ["ecs.RegisterTaskDefinition", "ecs.RunTask"]

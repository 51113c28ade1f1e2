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
from tests.platforms.awslambda.cloud import image, traffic

#: Calls whose repetition would have an effect.
ONCE = ("lambda.CreateFunction", "lambda.CreateAlias")


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(4))
async def test_stages_killed_at_random_points_have_the_same_result(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(aws, seed, times=10)
    assert_succeeded(await runner.run("LAMBDA_SYNC", killer=killer))
    assert traffic(aws) == {"1": 100}
    second = runner.next_deployment(checkout("v2", tags={"team": "shop"}))
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT", killer=killer))
    assert_succeeded(await second.run("LAMBDA_PROMOTE", stage_id="one", killer=killer, percent=20))
    assert traffic(aws) == {"2": 20, "1": 80}
    assert_succeeded(await second.run("ROLLBACK", killer=killer))
    assert traffic(aws) == {"1": 100}
    versions = aws.client("lambda").list_versions_by_function(FunctionName="shop")["Versions"]
    assert [row["Version"] for row in versions] == ["$LATEST", "1", "2"], "each stage published once"
    assert image(aws, "1") == "v1" and image(aws, "2") == "v2" and image(aws, "$LATEST") == "v1"
    counts = Counter(aws.changes)
    assert all(counts[name] == 1 for name in ONCE)
    assert killer.kills >= 4

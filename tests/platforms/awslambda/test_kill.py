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
from tests.platforms.awslambda.cloud import image, traffic

#: A repetition of these would leave something behind; of the others it changes nothing.
ONCE = ("lambda.CreateFunction", "lambda.CreateAlias")


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_points_everything_ends_the_same(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path], seed: int
) -> None:
    killer = Killer(aws, seed, times=10)
    succeeded(await bench.run("LAMBDA_SYNC", killed=killer))
    assert traffic(aws) == {"1": 100}
    second = bench.next(checkout("v2", tags={"team": "shop"}))
    succeeded(await second.run("LAMBDA_CANARY_ROLLOUT", killed=killer))
    succeeded(await second.run("LAMBDA_PROMOTE", stage_id="one", killed=killer, percent=20))
    assert traffic(aws) == {"2": 20, "1": 80}
    succeeded(await second.run("ROLLBACK", killed=killer))
    assert traffic(aws) == {"1": 100}
    versions = aws.client("lambda").list_versions_by_function(FunctionName="shop")["Versions"]
    assert [row["Version"] for row in versions] == ["$LATEST", "1", "2"], "each stage published once"
    assert image(aws, "1") == "v1" and image(aws, "2") == "v2" and image(aws, "$LATEST") == "v1"
    counts = Counter(aws.changes)
    assert all(counts[name] == 1 for name in ONCE)
    assert killer.kills >= 4

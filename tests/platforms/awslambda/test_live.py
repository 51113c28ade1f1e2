"""What is told of a running function, and when it is not what Git asks for."""

from collections.abc import Callable
from pathlib import Path

from pipecd.model.resource import Health, health_of
from pipecd.platforms.awslambda import platform
from tests.platforms.aws.bench import Bench, succeeded
from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.looks import look


async def deployed(bench: Bench) -> None:
    succeeded(await bench.run("LAMBDA_SYNC"))


async def test_before_the_first_deployment_nothing_runs(aws: Emulator, bench: Bench) -> None:
    asked = await look(platform, bench.provider, bench.target)
    assert await platform.live(asked) == []
    found = await platform.drift(asked)
    assert found.summary == "Differs from Git: 1 missing"
    assert "+ Function shop: does not run" in found.details


async def test_a_deployed_function_is_a_tree_and_no_drift(aws: Emulator, bench: Bench) -> None:
    await deployed(bench)
    asked = await look(platform, bench.provider, bench.target)
    function, alias, version = await platform.live(asked)
    assert (function.kind, function.name, function.health) == ("Function", "shop", Health.HEALTHY)
    assert (alias.kind, alias.parents, alias.why) == ("Alias", (function.id,), "100 % to version 1")
    assert (version.kind, version.name, version.parents) == ("Version", "1", (alias.id,))
    assert health_of([function, alias, version]) is Health.HEALTHY
    found = await platform.drift(asked)
    assert found.none, found.details


async def test_a_change_by_hand_is_told_line_by_line_and_can_be_ignored(aws: Emulator, bench: Bench) -> None:
    await deployed(bench)
    client = aws.client("lambda")
    client.update_function_configuration(FunctionName="shop", MemorySize=1024, Timeout=77)
    client.publish_version(FunctionName="shop")
    client.update_alias(FunctionName="shop", Name="Service", FunctionVersion="2")

    found = await platform.drift(await look(platform, bench.provider, bench.target))
    assert found.summary == "Differs from Git: 1 changed"
    lines = found.details.splitlines()
    assert {"-MemorySize: 1024", "+MemorySize: 256", "-Timeout: 77", "+Timeout: 10"} <= set(lines)
    assert len([line for line in lines[3:] if line[0] in "+-"]) == 4

    fields = [f"lambda:Function::shop#{name}" for name in ("MemorySize", "Timeout")]
    found = await platform.drift(await look(platform, bench.provider, bench.target, fields[0]))
    assert "Timeout" in found.details and "MemorySize" not in found.details
    assert (await platform.drift(await look(platform, bench.provider, bench.target, *fields))).none


async def test_a_new_commit_is_drift_until_it_is_deployed(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    newer = checkout("v9", memory=512, environments={"DB_PASSWORD": "hunter2", "PLAIN": "1"})
    found = await platform.drift(await look(platform, bench.provider, newer))
    assert "+MemorySize: 512" in found.details and "shop:v9" in found.details
    assert "hunter2" not in found.details


async def test_a_failed_function_is_unhealthy(aws: Emulator, bench: Bench) -> None:
    await deployed(bench)
    aws.rewrite(
        "lambda.GetFunction",
        lambda answer: answer["Configuration"].update(
            State="Failed", StateReason="The image is gone", StateReasonCode="ImageDeleted"
        ),
    )
    function, *_ = await platform.live(await look(platform, bench.provider, bench.target))
    assert (function.health, function.why) == (Health.UNHEALTHY, "The image is gone (ImageDeleted)")

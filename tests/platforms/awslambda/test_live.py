"""Live state and drift of a function."""

from collections.abc import Callable
from pathlib import Path

from pipecd.model.drift import Drift
from pipecd.model.resource import Health, aggregate_health
from pipecd.platforms.awslambda import platform
from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded


async def deploy(runner: AwsRunner) -> None:
    assert_succeeded(await runner.run("LAMBDA_SYNC"))


assert platform.compares and platform.observes
detect, load = platform.compares.detect, platform.observes.load


async def detect_drift(runner: AwsRunner, *ignored: str) -> Drift:
    request = await observation_request(platform, runner.provider, runner.target, *ignored)
    return await detect(request)


async def test_before_the_first_deployment_nothing_runs(aws: Emulator, runner: AwsRunner) -> None:
    request = await observation_request(platform, runner.provider, runner.target)
    assert await load(request) == []
    drift = await detect(request)
    assert drift.summary == "Differs from Git: 1 missing"
    assert "+ Function shop: not running" in drift.details


async def test_a_deployed_function_is_a_resource_tree_without_drift(aws: Emulator, runner: AwsRunner) -> None:
    await deploy(runner)
    request = await observation_request(platform, runner.provider, runner.target)
    function, alias, version = await load(request)
    assert (function.kind, function.name, function.health) == ("Function", "shop", Health.HEALTHY)
    assert (alias.kind, alias.parents, alias.health_reason) == ("Alias", (function.id,), "100 % to version 1")
    assert (version.kind, version.name, version.parents) == ("Version", "1", (alias.id,))
    assert aggregate_health([function, alias, version]) is Health.HEALTHY
    drift = await detect(request)
    assert drift.in_sync, drift.details


async def test_a_manual_change_is_shown_as_a_diff_and_can_be_ignored(
    aws: Emulator, runner: AwsRunner
) -> None:
    await deploy(runner)
    client = aws.client("lambda")
    client.update_function_configuration(FunctionName="shop", MemorySize=1024, Timeout=77)
    client.publish_version(FunctionName="shop")
    client.update_alias(FunctionName="shop", Name="Service", FunctionVersion="2")

    drift = await detect_drift(runner)
    assert drift.summary == "Differs from Git: 1 changed"
    lines = drift.details.splitlines()
    assert {"-MemorySize: 1024", "+MemorySize: 256", "-Timeout: 77", "+Timeout: 10"} <= set(lines)
    assert len([line for line in lines[3:] if line[0] in "+-"]) == 4

    fields = [f"lambda:Function::shop#{name}" for name in ("MemorySize", "Timeout")]
    drift = await detect(await observation_request(platform, runner.provider, runner.target, fields[0]))
    assert "Timeout" in drift.details and "MemorySize" not in drift.details
    assert (
        await detect(await observation_request(platform, runner.provider, runner.target, *fields))
    ).in_sync


async def test_a_new_commit_is_drift_until_it_is_deployed(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    newer = checkout("v9", memory=512, environments={"DB_PASSWORD": "hunter2", "PLAIN": "1"})
    drift = await detect(await observation_request(platform, runner.provider, newer))
    assert "+MemorySize: 512" in drift.details and "shop:v9" in drift.details
    assert "hunter2" not in drift.details


async def test_a_failed_function_is_unhealthy(aws: Emulator, runner: AwsRunner) -> None:
    await deploy(runner)
    aws.rewrite(
        "lambda.GetFunction",
        lambda response: response["Configuration"].update(
            State="Failed", StateReason="The image was deleted", StateReasonCode="ImageDeleted"
        ),
    )
    function, *_ = await load(await observation_request(platform, runner.provider, runner.target))
    assert (function.health, function.health_reason) == (
        Health.UNHEALTHY,
        "The image was deleted (ImageDeleted)",
    )

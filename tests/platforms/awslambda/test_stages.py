"""Every Lambda stage against an emulated AWS: its calls, their order, and the result of failures.

The tests simulate what moto does not do: changes take time (`State`, `LastUpdateStatus`), the alias is
guarded by its revision, and calls are refused. In moto, versions share the `ImageUri` of `$LATEST`. After
every changing call, `Cloud.check` checks that no traffic points at a missing version.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipecd.platforms.awslambda.traffic import Traffic
from tests.platforms.aws.emulator import Emulator
from tests.platforms.aws.lambda_rules import LambdaRules
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text
from tests.platforms.awslambda.cloud import image, traffic


async def deploy(runner: AwsRunner) -> None:
    assert_succeeded(await runner.run("LAMBDA_SYNC"))


async def test_the_first_sync_creates_publishes_and_routes(aws: Emulator, runner: AwsRunner) -> None:
    outcome = assert_succeeded(await runner.run("LAMBDA_SYNC"))
    assert outcome.note == "All traffic goes to version 1"
    assert aws.changes == ["lambda.CreateFunction", "lambda.PublishVersion", "lambda.CreateAlias"]
    assert traffic(aws) == {"1": 100} and image(aws, "1") == "v1"
    tags = aws.client("lambda").get_function(FunctionName="shop")["Tags"]
    assert tags == {
        "pipecd-dev-managed-by": "piped",
        "pipecd-dev-piped": "piped-1",
        "pipecd-dev-application": "app-1",
        "pipecd-dev-commit-hash": "commit-v1",
    }


async def test_a_misspelled_key_of_the_manifest_is_named_in_the_log(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    misspelled = runner.next_deployment(
        checkout("v2", memmory=256, ephemeralStorage={"sise": 600, "size": 512})
    )
    assert_succeeded(await misspelled.run("LAMBDA_SYNC"))
    ignored = sorted(line for line in misspelled.log.lines if "has no effect" in line)
    assert len(ignored) == 2, "each once, however often the stage is called"
    assert re.fullmatch(
        r".*function\.yaml:\d+: spec\.memmory has no effect: unknown key; did you mean memory\?", ignored[1]
    )
    assert "spec.ephemeralStorage.sise has no effect" in ignored[0]


async def test_a_sync_updates_what_changed_before_it_moves_the_traffic(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    del aws.calls[:]
    more = {"environments": {"COLOUR": "blue"}, "tags": {"team": "shop"}, "memory": 512}
    second = runner.next_deployment(checkout("v2", **more))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert aws.changes == [
        "lambda.UpdateFunctionCode",
        "lambda.UpdateFunctionConfiguration",
        "lambda.TagResource",
        "lambda.PublishVersion",
        "lambda.UpdateAlias",
    ]
    assert traffic(aws) == {"2": 100} and image(aws, "2") == "v2"
    live = aws.client("lambda").get_function(FunctionName="shop")
    assert live["Configuration"]["Environment"]["Variables"] == {"COLOUR": "blue"}
    assert live["Configuration"]["MemorySize"] == 512 and live["Tags"]["team"] == "shop"

    third = second.next_deployment(checkout("v3"))
    assert_succeeded(await third.run("LAMBDA_SYNC"))
    live = aws.client("lambda").get_function(FunctionName="shop")
    assert "team" not in live["Tags"] and "lambda.UntagResource" in aws.changes
    assert not live["Configuration"].get("Environment", {}).get("Variables")


async def test_a_canary_gets_traffic_step_by_step(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    assert traffic(aws) == {"1": 100}, "publishing moves no traffic"
    assert second.shared["shop-rollout"] == "2"
    first_step = assert_succeeded(await second.run("LAMBDA_PROMOTE", stage_id="one", percent=10))
    assert traffic(aws) == {"2": 10, "1": 90}
    assert first_step.saved == {"promote-percentage": "10"}
    assert_succeeded(await second.run("LAMBDA_PROMOTE", stage_id="two", percent=50))
    assert traffic(aws) == {"2": 50, "1": 50}
    assert_succeeded(await second.run("LAMBDA_PROMOTE", stage_id="three", percent=100))
    assert traffic(aws) == {"2": 100}


async def test_promoting_requires_a_version_and_an_existing_alias(aws: Emulator, runner: AwsRunner) -> None:
    reason = failure_text(await runner.run("LAMBDA_PROMOTE", percent=10))
    assert "add LAMBDA_CANARY_ROLLOUT before LAMBDA_PROMOTE" in reason
    assert_succeeded(await runner.run("LAMBDA_CANARY_ROLLOUT"))
    assert "10 % of its traffic cannot be routed" in failure_text(
        await runner.run("LAMBDA_PROMOTE", percent=10)
    )
    assert_succeeded(await runner.run("LAMBDA_PROMOTE", percent=100))
    assert traffic(aws) == {"1": 100}


async def test_a_commit_that_does_not_change_the_function_keeps_the_traffic(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    # moto treats every update as a change; AWS publishes no second version of the same code.
    aws.rewrite("lambda.PublishVersion", lambda response: response.update(Version="1"))
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    assert_succeeded(await second.run("LAMBDA_PROMOTE", percent=10))
    assert traffic(aws) == {"1": 100} and "lambda.UpdateAlias" not in aws.changes


@pytest.mark.parametrize("steps", range(6))
async def test_rollback_after_a_cancellation_restores_the_traffic_first(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path], steps: int
) -> None:
    """Cancelled after `steps` calls of LAMBDA_PROMOTE."""
    await deploy(runner)
    second = runner.next_deployment(checkout("v2", memory=512))
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    if steps:
        await second.run("LAMBDA_PROMOTE", calls=steps, percent=25)
    del aws.calls[:]
    assert_succeeded(await second.run("ROLLBACK"))
    assert traffic(aws) == {"1": 100}
    moved = ["lambda.UpdateAlias"] if steps else []
    assert aws.changes == [
        *moved,
        "lambda.UpdateFunctionCode",
        "lambda.UpdateFunctionConfiguration",
        "lambda.TagResource",
    ]
    live = aws.client("lambda").get_function(FunctionName="shop")
    assert live["Configuration"]["MemorySize"] == 256 and live["Code"]["ImageUri"].endswith(":v1")
    assert live["Tags"]["pipecd-dev-commit-hash"] == "commit-v1"


async def test_rollback_restores_the_original_traffic_split(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    assert_succeeded(await second.run("LAMBDA_PROMOTE", percent=30))
    third = second.next_deployment(checkout("v3"))
    assert_succeeded(await third.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"3": 100}
    assert_succeeded(await third.run("ROLLBACK"))
    assert traffic(aws) == {"2": 30, "1": 70}


async def test_rollback_of_an_alias_created_by_the_deployment_routes_to_the_previous_code(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    aws.client("lambda").delete_alias(FunctionName="shop", Name="Service")
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"2": 100}
    assert_succeeded(await second.run("ROLLBACK"))
    (version,) = traffic(aws)
    assert image(aws, version) == "v1"


async def test_rollback_of_a_first_deployment_fails(runner: AwsRunner) -> None:
    assert "nothing was deployed before" in failure_text(await runner.run("ROLLBACK"))


async def test_existing_resources_are_checked_again(aws: Emulator, runner: AwsRunner) -> None:
    """AWS returns these errors if the response to the first call was lost."""
    aws.fail("lambda.CreateFunction", 409, "ResourceConflictException", "Function already exist: shop")
    aws.fail("lambda.CreateAlias", 409, "ResourceConflictException", "Alias already exists")
    assert_succeeded(await runner.run("LAMBDA_SYNC"))
    assert aws.changes == ["lambda.CreateFunction", "lambda.PublishVersion", "lambda.CreateAlias"]


@pytest.mark.parametrize("error", ["ThrottlingException", "ServiceException"])
async def test_temporary_errors_are_retried(aws: Emulator, runner: AwsRunner, error: str) -> None:
    for name in ("CreateFunction", "PublishVersion", "CreateAlias"):
        aws.fail(f"lambda.{name}", 429, error)
    assert_succeeded(await runner.run("LAMBDA_SYNC"))
    assert aws.changes == ["lambda.CreateFunction", "lambda.PublishVersion", "lambda.CreateAlias"]


async def test_a_denied_permission_is_named_and_moves_no_traffic(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    aws.fail("lambda.PublishVersion", 403, "AccessDeniedException", "not authorized")
    second = runner.next_deployment(checkout("v2"))
    assert "allow the agent's role to call lambda:PublishVersion" in failure_text(
        await second.run("LAMBDA_SYNC")
    )
    assert traffic(aws) == {"1": 100}


async def test_throttling_is_not_treated_as_a_first_deployment(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    """An alias that cannot be read is not a missing alias."""
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    aws.fail("lambda.GetAlias", 429, "TooManyRequestsException")
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    assert '"primary": "1"' in second.shared["original-traffic-commit-v1"]


async def test_a_concurrent_change_of_the_alias_is_read_again(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    aws.fail("lambda.UpdateAlias", 412, "PreconditionFailedException", "RevisionId")
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"2": 100}
    (sent,) = aws.bodies("lambda.UpdateAlias")
    assert sent["RevisionId"], "each update is guarded by the revision that was read"


async def test_nothing_is_published_before_lambda_has_applied_the_change(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    statuses = iter(["Successful", "InProgress", "InProgress"])

    def in_progress(response: Any) -> None:
        response["Configuration"]["LastUpdateStatus"] = next(statuses, "Successful")

    aws.rewrite("lambda.GetFunction", in_progress)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert second.waited >= 0.5 and next(statuses, None) is None


async def test_a_failed_update_fails_the_stage_but_an_earlier_failure_does_not(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    failure = {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "the image was deleted"}
    aws.rewrite("lambda.GetFunction", lambda response: response["Configuration"].update(failure))
    second = runner.next_deployment(checkout("v2"))
    assert "the image was deleted" in failure_text(await second.run("LAMBDA_SYNC"))
    assert aws.changes[-1] == "lambda.UpdateFunctionCode", "the new code was sent"
    assert traffic(aws) == {"1": 100}


async def test_old_published_versions_are_deleted_except_the_newest_ten(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    client = aws.client("lambda")
    for number in range(2, 14):
        client.update_function_configuration(FunctionName="shop", Timeout=number)
        description = "by hand" if number == 3 else f"pipecd old/{number}"
        client.publish_version(FunctionName="shop", Description=description)
    client.create_alias(FunctionName="shop", Name="pinned", FunctionVersion="2")
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    remaining = [row["Version"] for row in client.list_versions_by_function(FunctionName="shop")["Versions"]]
    assert remaining == ["$LATEST", "2", "3", *[str(number) for number in range(5, 15)]]


async def test_a_refused_deletion_of_old_versions_does_not_fail_the_stage(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    client = aws.client("lambda")
    for number in range(2, 14):
        client.update_function_configuration(FunctionName="shop", Timeout=number)
        client.publish_version(FunctionName="shop", Description=f"pipecd old/{number}")
    aws.fail("lambda.DeleteFunction", 403, "AccessDeniedException")
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert any("were not deleted" in line for line in second.log.lines)


async def test_no_traffic_goes_to_a_version_before_it_is_active(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    """`LambdaRules` records a violation otherwise."""
    rules.reads = 12
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    rules._pending["2"] = 3
    assert_succeeded(await second.run("LAMBDA_PROMOTE", percent=10))
    assert traffic(aws) == {"2": 10, "1": 90} and second.waited >= 60


@pytest.mark.parametrize("stage", ["LAMBDA_SYNC", "LAMBDA_CANARY_ROLLOUT"])
async def test_a_version_that_fails_fails_the_stage_with_its_reason(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path], stage: str
) -> None:
    await deploy(runner)
    rules.failing["2"] = "The image manifest is not supported."
    second = runner.next_deployment(checkout("v2"))
    reason = failure_text(await second.run(stage))
    assert reason.startswith(
        "version 2 of shop failed: The image manifest is not supported. (InvalidImage); "
    )
    assert traffic(aws) == {"1": 100} and "lambda.UpdateAlias" not in aws.changes
    assert_succeeded(await second.run("ROLLBACK"))
    assert traffic(aws) == {"1": 100}


async def test_a_version_that_failed_for_an_earlier_deployment_is_replaced(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    """AWS publishes no second version of unchanged code, so the failed one would fail every deployment."""
    await deploy(runner)
    rules.failing["2"] = "Access to the key was denied."
    second = runner.next_deployment(checkout("v2"))
    failure_text(await second.run("LAMBDA_SYNC"))
    second.id, second.saved = "deployment-3", {}
    second.saved["LAMBDA_SYNC"] = {"pipecd/code-sent": "deployment-3/LAMBDA_SYNC"}
    del aws.calls[:]
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    # moto publishes version 1 again, which has the traffic.
    assert aws.changes == ["lambda.PublishVersion", "lambda.DeleteFunction", "lambda.PublishVersion"]


async def test_a_version_that_stays_pending_fails_the_stage(
    rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    rules._published.add("2")
    rules._pending["2"] = 1000
    second.min_wait = 16.0
    reason = failure_text(await second.run("LAMBDA_SYNC", limit=1000))
    assert "waited 26 minutes for version 2 to become active; it is Pending" in reason
    assert 1560 < second.waited < 1600


async def test_a_change_that_never_completes_fails_the_stage(
    rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    rules._updating = 2000
    second = runner.next_deployment(checkout("v2"))
    second.min_wait = 60.0
    reason = failure_text(await second.run("LAMBDA_SYNC", limit=1000))
    assert "waited 26 minutes for Lambda to apply the last change; see the function's state" in reason


@pytest.mark.parametrize("reads", [1, 40])
async def test_provisioned_concurrency_of_the_alias_is_awaited(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path], reads: int
) -> None:
    """AWS keeps the traffic on the old version, by weights of its own, until the new one has capacity."""
    rules.provisioned_reads = reads
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert aws.changes.count("lambda.UpdateAlias") == 1
    assert second.waited >= 5 * (reads - 1)
    assert '"secondary": ""' in second.shared["original-traffic-commit-v1"]


async def test_weights_of_aws_are_not_recorded_as_the_original_traffic(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    rules.provisioned_reads = 1
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    rules._moving = ("1", 4)
    third = second.next_deployment(checkout("v3"))
    assert_succeeded(await third.run("LAMBDA_CANARY_ROLLOUT"))
    assert third.shared["original-traffic-commit-v2"] == Traffic(primary="2").dump()


async def test_provisioned_concurrency_that_cannot_be_allocated_fails_and_is_rolled_back(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    rules.provisioned_reads = 3
    await deploy(runner)
    second = runner.next_deployment(checkout("v2"))
    rules.provisioned_failure = "FUNCTION_ERROR_INIT_FAILURE"
    reason = failure_text(await second.run("LAMBDA_SYNC"))
    assert "could not allocate the provisioned concurrency of the alias: FUNCTION_ERROR" in reason
    rules.provisioned_failure = ""
    assert_succeeded(await second.run("ROLLBACK"))
    assert traffic(aws) == {"1": 100}


async def test_another_writer_of_the_alias_is_not_fought_without_end(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    weights = {"AdditionalVersionWeights": {"1": 0.5}}

    def overwritten(response: Any) -> None:
        if response["FunctionVersion"] == "2":
            response["RoutingConfig"] = weights

    aws.rewrite("lambda.GetAlias", overwritten)
    second = runner.next_deployment(checkout("v2"))
    reason = failure_text(await second.run("LAMBDA_SYNC"))
    assert "after 5 updates of the alias Service of shop to version 2 100 %" in reason
    assert "find out what else changes the alias" in reason
    assert aws.changes.count("lambda.UpdateAlias") == 5 and second.waited >= 20


async def test_an_agent_that_may_not_read_provisioned_concurrency_waits_too(
    aws: Emulator, rules: LambdaRules, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    rules.provisioned_reads = 3
    await deploy(runner)
    for _ in range(3):
        aws.fail("lambda.GetProvisionedConcurrencyConfig", 403, "AccessDeniedException")
    second = runner.next_deployment(checkout("v2"))
    assert_succeeded(await second.run("LAMBDA_SYNC"))
    assert aws.changes.count("lambda.UpdateAlias") == 1


async def test_a_package_type_that_aws_cannot_change_is_refused_before_any_change(
    aws: Emulator, runner: AwsRunner, checkout: Callable[..., Path]
) -> None:
    await deploy(runner)
    archive = {"s3Bucket": "code", "s3Key": "a.zip", "handler": "app.handler", "runtime": "python3.13"}
    second = runner.next_deployment(checkout("v2", **archive))
    del aws.calls[:]
    reason = failure_text(await second.run("LAMBDA_SYNC"))
    assert "cannot change the package type of the function shop from Image to Zip" in reason
    assert "give the function another name, or delete it and sync again" in reason
    assert aws.changes == []
    assert_succeeded(await second.run("ROLLBACK"))
    assert traffic(aws) == {"1": 100}

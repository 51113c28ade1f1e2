"""Every Lambda stage against an emulated AWS: what it does, in which order, and what its failure leaves.

What moto does not do, and is brought about by hand here: settling takes time (`State`, `LastUpdateStatus`),
the alias is fenced by its revision, calls are refused. Its versions share the `ImageUri` of `$LATEST`.
After every call that changes something, `World.check` looks whether any traffic points at nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.platforms.aws.bench import Bench, failed, succeeded
from tests.platforms.aws.emulator import Emulator
from tests.platforms.awslambda.cloud import image, traffic


async def deployed(bench: Bench) -> None:
    succeeded(await bench.run("LAMBDA_SYNC"))


async def test_the_first_sync_creates_publishes_and_routes(aws: Emulator, bench: Bench) -> None:
    outcome = succeeded(await bench.run("LAMBDA_SYNC"))
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


async def test_a_sync_updates_what_changed_before_it_moves_the_traffic(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    del aws.calls[:]
    more = {"environments": {"COLOUR": "blue"}, "tags": {"team": "shop"}, "memory": 512}
    second = bench.next(checkout("v2", **more))
    succeeded(await second.run("LAMBDA_SYNC"))
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

    third = second.next(checkout("v3"))
    succeeded(await third.run("LAMBDA_SYNC"))
    live = aws.client("lambda").get_function(FunctionName="shop")
    assert "team" not in live["Tags"] and "lambda.UntagResource" in aws.changes
    assert not live["Configuration"].get("Environment", {}).get("Variables")


async def test_a_canary_gets_traffic_step_by_step(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    assert traffic(aws) == {"1": 100}, "publishing moves no traffic"
    assert second.shared["shop-rollout"] == "2"
    first_step = succeeded(await second.run("LAMBDA_PROMOTE", stage_id="one", percent=10))
    assert traffic(aws) == {"2": 10, "1": 90}
    assert first_step.saved == {"promote-percentage": "10"}
    succeeded(await second.run("LAMBDA_PROMOTE", stage_id="two", percent=50))
    assert traffic(aws) == {"2": 50, "1": 50}
    succeeded(await second.run("LAMBDA_PROMOTE", stage_id="three", percent=100))
    assert traffic(aws) == {"2": 100}


async def test_promoting_needs_a_version_and_somebody_to_share_with(aws: Emulator, bench: Bench) -> None:
    reason = failed(await bench.run("LAMBDA_PROMOTE", percent=10))
    assert "put LAMBDA_CANARY_ROLLOUT before LAMBDA_PROMOTE" in reason
    succeeded(await bench.run("LAMBDA_CANARY_ROLLOUT"))
    assert "10 % cannot be split off" in failed(await bench.run("LAMBDA_PROMOTE", percent=10))
    succeeded(await bench.run("LAMBDA_PROMOTE", percent=100))
    assert traffic(aws) == {"1": 100}


async def test_a_commit_that_changes_nothing_of_the_function_leaves_the_traffic(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    # moto takes every update for a change; AWS publishes no second version of the same.
    aws.rewrite("lambda.PublishVersion", lambda answer: answer.update(Version="1"))
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    succeeded(await second.run("LAMBDA_PROMOTE", percent=10))
    assert traffic(aws) == {"1": 100} and "lambda.UpdateAlias" not in aws.changes


@pytest.mark.parametrize("steps", range(6))
async def test_rollback_after_a_cancel_gives_the_traffic_back_first(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path], steps: int
) -> None:
    """Cancelled after `steps` calls of promoting, wherever that is."""
    await deployed(bench)
    second = bench.next(checkout("v2", memory=512))
    succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    if steps:
        await second.run("LAMBDA_PROMOTE", calls=steps, percent=25)
    del aws.calls[:]
    succeeded(await second.run("ROLLBACK"))
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


async def test_rollback_gives_back_shares_that_were_there_before(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    succeeded(await second.run("LAMBDA_PROMOTE", percent=30))
    third = second.next(checkout("v3"))
    succeeded(await third.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"3": 100}
    succeeded(await third.run("ROLLBACK"))
    assert traffic(aws) == {"2": 30, "1": 70}


async def test_rollback_of_an_alias_that_the_deployment_made_routes_to_what_ran(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    aws.client("lambda").delete_alias(FunctionName="shop", Name="Service")
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"2": 100}
    succeeded(await second.run("ROLLBACK"))
    (version,) = traffic(aws)
    assert image(aws, version) == "v1"


async def test_rollback_of_a_first_deployment_says_that_there_is_nothing(bench: Bench) -> None:
    assert "nothing was deployed before" in failed(await bench.run("ROLLBACK"))


async def test_what_appeared_in_the_meantime_is_looked_at_again(aws: Emulator, bench: Bench) -> None:
    """So AWS answers when the answer to the first try of our own call was lost."""
    aws.fail("lambda.CreateFunction", 409, "ResourceConflictException", "Function already exist: shop")
    aws.fail("lambda.CreateAlias", 409, "ResourceConflictException", "Alias already exists")
    succeeded(await bench.run("LAMBDA_SYNC"))
    assert aws.changes == ["lambda.CreateFunction", "lambda.PublishVersion", "lambda.CreateAlias"]


@pytest.mark.parametrize("error", ["ThrottlingException", "ServiceException"])
async def test_what_passes_is_tried_again(aws: Emulator, bench: Bench, error: str) -> None:
    for name in ("CreateFunction", "PublishVersion", "CreateAlias"):
        aws.fail(f"lambda.{name}", 429, error)
    succeeded(await bench.run("LAMBDA_SYNC"))
    assert aws.changes == ["lambda.CreateFunction", "lambda.PublishVersion", "lambda.CreateAlias"]


async def test_a_denied_permission_names_itself_and_moves_nothing(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    aws.fail("lambda.PublishVersion", 403, "AccessDeniedException", "not authorized")
    second = bench.next(checkout("v2"))
    assert "allow lambda:PublishVersion" in failed(await second.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"1": 100}


async def test_throttling_is_no_first_deployment(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    """An alias that cannot be read is not an alias that is not there."""
    await deployed(bench)
    second = bench.next(checkout("v2"))
    aws.fail("lambda.GetAlias", 429, "TooManyRequestsException")
    succeeded(await second.run("LAMBDA_CANARY_ROLLOUT"))
    assert '"primary": "1"' in second.shared["original-traffic-commit-v1"]


async def test_somebody_elses_change_of_the_alias_is_looked_at_again(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    second = bench.next(checkout("v2"))
    aws.fail("lambda.UpdateAlias", 412, "PreconditionFailedException", "RevisionId")
    succeeded(await second.run("LAMBDA_SYNC"))
    assert traffic(aws) == {"2": 100}
    (sent,) = aws.bodies("lambda.UpdateAlias")
    assert sent["RevisionId"], "each change is fenced by the revision that was read"


async def test_nothing_is_published_before_lambda_has_settled(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    answers = iter(["Successful", "InProgress", "InProgress"])

    def settling(answer: Any) -> None:
        answer["Configuration"]["LastUpdateStatus"] = next(answers, "Successful")

    aws.rewrite("lambda.GetFunction", settling)
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_SYNC"))
    assert second.waited >= 4.0 and next(answers, None) is None


async def test_a_failed_update_of_ours_fails_and_one_of_before_does_not(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    why = {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "the image is gone"}
    aws.rewrite("lambda.GetFunction", lambda answer: answer["Configuration"].update(why))
    second = bench.next(checkout("v2"))
    assert "the image is gone" in failed(await second.run("LAMBDA_SYNC"))
    assert aws.changes[-1] == "lambda.UpdateFunctionCode", "new code was tried"
    assert traffic(aws) == {"1": 100}


async def test_old_versions_of_ours_are_deleted_and_the_newest_ten_stay(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    client = aws.client("lambda")
    for number in range(2, 14):
        client.update_function_configuration(FunctionName="shop", Timeout=number)
        description = "by hand" if number == 3 else f"pipecd old/{number}"
        client.publish_version(FunctionName="shop", Description=description)
    client.create_alias(FunctionName="shop", Name="pinned", FunctionVersion="2")
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_SYNC"))
    left = [row["Version"] for row in client.list_versions_by_function(FunctionName="shop")["Versions"]]
    assert left == ["$LATEST", "2", "3", *[str(number) for number in range(5, 15)]]


async def test_not_being_allowed_to_delete_old_versions_fails_nothing(
    aws: Emulator, bench: Bench, checkout: Callable[..., Path]
) -> None:
    await deployed(bench)
    client = aws.client("lambda")
    for number in range(2, 14):
        client.update_function_configuration(FunctionName="shop", Timeout=number)
        client.publish_version(FunctionName="shop", Description=f"pipecd old/{number}")
    aws.fail("lambda.DeleteFunction", 403, "AccessDeniedException")
    second = bench.next(checkout("v2"))
    succeeded(await second.run("LAMBDA_SYNC"))
    assert any("left in place" in line for line in second.log.lines)

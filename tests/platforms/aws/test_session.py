"""Who the agent is to AWS, and what it says when AWS says no."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.utils import AioContainerMetadataFetcher
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
)

from pipecd.errors import AlreadyExists, ConfigError, Conflict, NotFound, Refused, Temporary
from pipecd.platforms import aws as ours
from pipecd.platforms.aws import AwsProvider, errors_in_our_words, stale_tags
from pipecd.platforms.connections import connections
from tests.aws import chain
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.replies import replying


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as made, chain(monkeypatch, made.environment()):
        yield made


async def key_in_use(provider: AwsProvider) -> str:
    async with ours.client("sts", provider) as sdk:
        credentials = await sdk._request_signer._credentials.get_frozen_credentials()
    return str(credentials.access_key)


async def test_without_settings_it_is_the_usual_chain(aws: Emulator) -> None:
    assert await key_in_use(AwsProvider(region=REGION)) == "tester"


async def test_a_profile_of_a_credentials_file(
    aws: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = a\n"
        "[shop]\naws_access_key_id = B\naws_secret_access_key = b\n"
    )
    plain = {"region": REGION, "credentialsFile": str(file)}
    assert await key_in_use(AwsProvider.model_validate(plain)) == "A"
    assert await key_in_use(AwsProvider.model_validate({**plain, "profile": "shop"})) == "B"


async def test_an_agent_asks_its_container_for_the_role_once(
    aws: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # One that is given up is asked for again.
    monkeypatch.setattr(AioContainerMetadataFetcher, "TIMEOUT_SECONDS", 60)
    provider = AwsProvider(region=REGION)
    with replying() as container:
        role = {"AccessKeyId": "tester", "SecretAccessKey": "tester", "Token": "t"}
        container.put("/role", {**role, "Expiration": "2099-01-01T00:00:00Z"})
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/role")
        async with connections():
            for _ in range(3):
                assert await key_in_use(provider) == "tester"
            assert len(container.asked) == 1
        # Who has no agent around it keeps nothing.
        assert await key_in_use(provider) == "tester"
        assert len(container.asked) == 2


async def test_keys_that_were_exchanged_on_disk_are_read_after_a_refusal(
    aws: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    provider = AwsProvider.model_validate({"region": REGION, "credentialsFile": str(file)})
    file.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = a\n")
    async with connections():
        assert await key_in_use(provider) == "A"
        file.write_text("[default]\naws_access_key_id = B\naws_secret_access_key = b\n")
        aws.fail("sts.GetCallerIdentity", 403, "ExpiredToken", "the token has expired")
        with pytest.raises(Refused, match="renew them"):
            async with ours.client("sts", provider) as sdk:
                await sdk.get_caller_identity()
        assert await key_in_use(provider) == "B"


async def test_a_role_by_a_web_identity(aws: Emulator, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    role = "arn:aws:iam::123456789012:role/shop"
    provider = AwsProvider.model_validate({"region": REGION, "roleARN": role, "tokenFile": str(token)})
    assert (await key_in_use(provider)).startswith("ASIA")


async def test_a_token_file_that_is_gone_is_told(aws: Emulator) -> None:
    given = {"region": REGION, "roleARN": "arn:aws:iam::1:role/shop", "tokenFile": "/nonexistent/token"}
    with pytest.raises(ConfigError, match="tokenFile"):
        await key_in_use(AwsProvider.model_validate(given))


async def test_a_profile_that_is_not_there_is_told(aws: Emulator) -> None:
    with pytest.raises(ConfigError, match="none-such"):
        await key_in_use(AwsProvider(region=REGION, profile="none-such"))


def refused(code: str, message: str = "no", status: int = 400) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "DoIt")


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (refused("ResourceNotFoundException"), NotFound, "DoIt"),
        (refused("ClientException", "Unable to describe task definition."), NotFound, ""),
        (refused("ClientException", "the cluster is odd"), Refused, "the cluster is odd"),
        (refused("ResourceConflictException", "Function already exist: shop"), AlreadyExists, ""),
        (refused("ResourceConflictException", "An update is in progress for resource"), Temporary, ""),
        (refused("PreconditionFailedException"), Conflict, ""),
        (refused("ThrottlingException"), Temporary, ""),
        (refused("Whatever", status=503), Temporary, ""),
        (refused("AccessDeniedException"), Refused, "allow lambda:DoIt to the agent's role"),
        (refused("Odd", status=403), Refused, "allow lambda:DoIt"),
        (refused("ExpiredTokenException", status=403), Refused, "the credentials have expired"),
        (refused("InvalidParameterValueException", "bad role"), Refused, "bad role"),
        (NoCredentialsError(), ConfigError, "give the agent's container or instance a role"),
        (EndpointConnectionError(endpoint_url="http://x"), Temporary, "cannot be reached"),
        (BotoCoreError(), ConfigError, "platform provider"),
        (ParamValidationError(report="unknown word"), ConfigError, "look at the application's files"),
    ],
)
def test_what_aws_says_in_our_words(error: Exception, expected: type[Exception], told: str) -> None:
    with pytest.raises(expected) as found, errors_in_our_words("lambda"):
        raise error
    assert type(found.value) is expected and told in str(found.value)


def test_only_tags_that_can_be_removed_are_stale() -> None:
    live = {"team": "shop", "old": "x", "aws:cloudformation:stack-name": "y"}
    assert stale_tags(live, {"team": "other"}) == ["old"]

"""The agent's AWS credentials, and how AWS errors are translated."""

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

from pipecd.clock import SYSTEM_CLOCK
from pipecd.errors import AlreadyExists, ConfigError, Conflict, NotFound, Refused, Temporary
from pipecd.platforms import aws as aws_platform
from pipecd.platforms.aws import AwsProvider, stale_tags, translate_errors
from pipecd.platforms.connections import connection_pool
from tests.aws import credential_chain
from tests.platforms.aws.emulator import REGION, Emulator, emulator
from tests.replies import reply_server


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    with emulator() as aws, credential_chain(monkeypatch, aws.environment()):
        yield aws


async def access_key(provider: AwsProvider) -> str:
    async with aws_platform.client("sts", provider) as sdk:
        credentials = await sdk._request_signer._credentials.get_frozen_credentials()
    return str(credentials.access_key)


async def test_without_settings_the_default_chain_is_used(aws: Emulator) -> None:
    assert await access_key(AwsProvider(region=REGION)) == "tester"


async def test_credentials_of_a_profile_in_a_credentials_file(
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
    assert await access_key(AwsProvider.model_validate(plain)) == "A"
    assert await access_key(AwsProvider.model_validate({**plain, "profile": "shop"})) == "B"


async def test_an_agent_requests_the_role_from_its_container_once(
    aws: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # A request that times out would be repeated.
    monkeypatch.setattr(AioContainerMetadataFetcher, "TIMEOUT_SECONDS", 60)
    provider = AwsProvider(region=REGION)
    with reply_server() as container:
        role = {"AccessKeyId": "tester", "SecretAccessKey": "tester", "Token": "t"}
        container.set_response("/role", {**role, "Expiration": "2099-01-01T00:00:00Z"})
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/role")
        async with connection_pool(SYSTEM_CLOCK):
            for _ in range(3):
                assert await access_key(provider) == "tester"
            assert len(container.requests) == 1
        # Without a connection pool nothing is shared.
        assert await access_key(provider) == "tester"
        assert len(container.requests) == 2


async def test_rotated_keys_on_disk_are_read_after_an_error(
    aws: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    provider = AwsProvider.model_validate({"region": REGION, "credentialsFile": str(file)})
    file.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = a\n")
    async with connection_pool(SYSTEM_CLOCK):
        assert await access_key(provider) == "A"
        file.write_text("[default]\naws_access_key_id = B\naws_secret_access_key = b\n")
        aws.fail("sts.GetCallerIdentity", 403, "ExpiredToken", "the token has expired")
        with pytest.raises(Refused, match="renew them"):
            async with aws_platform.client("sts", provider) as sdk:
                await sdk.get_caller_identity()
        assert await access_key(provider) == "B"


async def test_a_role_with_a_web_identity(aws: Emulator, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token\n")
    role = "arn:aws:iam::123456789012:role/shop"
    provider = AwsProvider.model_validate({"region": REGION, "roleARN": role, "tokenFile": str(token)})
    assert (await access_key(provider)).startswith("ASIA")


async def test_a_missing_token_file_is_an_error(aws: Emulator) -> None:
    settings = {"region": REGION, "roleARN": "arn:aws:iam::1:role/shop", "tokenFile": "/nonexistent/token"}
    with pytest.raises(ConfigError, match="tokenFile"):
        await access_key(AwsProvider.model_validate(settings))


async def test_a_missing_profile_is_an_error(aws: Emulator) -> None:
    with pytest.raises(ConfigError, match="none-such"):
        await access_key(AwsProvider(region=REGION, profile="none-such"))


def client_error(code: str, message: str = "no", status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "DoIt")


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (client_error("ResourceNotFoundException"), NotFound, "DoIt"),
        (client_error("ClientException", "Unable to describe task definition."), NotFound, ""),
        (client_error("ClientException", "the cluster is odd"), Refused, "the cluster is odd"),
        (client_error("ResourceConflictException", "Function already exist: shop"), AlreadyExists, ""),
        (client_error("ResourceConflictException", "An update is in progress for resource"), Temporary, ""),
        (client_error("PreconditionFailedException"), Conflict, ""),
        (client_error("ThrottlingException"), Temporary, ""),
        (client_error("Whatever", status=503), Temporary, ""),
        (client_error("AccessDeniedException"), Refused, "allow the agent's role to call lambda:DoIt"),
        (client_error("Odd", status=403), Refused, "allow the agent's role to call lambda:DoIt"),
        (client_error("ExpiredTokenException", status=403), Refused, "the credentials have expired"),
        (client_error("InvalidParameterValueException", "bad role"), Refused, "bad role"),
        (NoCredentialsError(), ConfigError, "give the agent's container or instance a role"),
        (EndpointConnectionError(endpoint_url="http://x"), Temporary, "is unreachable"),
        (BotoCoreError(), ConfigError, "platform provider"),
        (ParamValidationError(report="unknown word"), ConfigError, "check the application's files"),
    ],
)
def test_aws_errors_are_translated(error: Exception, expected: type[Exception], message: str) -> None:
    with pytest.raises(expected) as raised, translate_errors("lambda"):
        raise error
    assert type(raised.value) is expected and message in str(raised.value)


def test_only_tags_that_can_be_removed_are_stale() -> None:
    live = {"team": "shop", "old": "x", "aws:cloudformation:stack-name": "y"}
    assert stale_tags(live, {"team": "other"}) == ["old"]

"""What ECS and Lambda share: a session from the provider's settings, and AWS's errors in our words.

Nothing here names a service's resource. Retries of throttling and of broken connections are the
SDK's (`standard` mode, bounded); what is left after that reaches the stage as one of `pipecd.errors`.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    TokenRetrievalError,
)
from botocore.loaders import Loader
from pydantic import BaseModel, ConfigDict, Field

from pipecd.errors import AlreadyExists, ConfigError, Conflict, NotFound, Refused, Temporary
from pipecd.platforms.connections import lent

MANAGED_BY, PIPED, APPLICATION, COMMIT = (
    "pipecd-dev-managed-by",
    "pipecd-dev-piped",
    "pipecd-dev-application",
    "pipecd-dev-commit-hash",
)

#: Of a client (seconds): keys on disk are rotated, and a web identity has its credentials for an hour.
LIFETIME = 600.0
#: All deployments of an agent share a client.
CALLS_AT_ONCE = 50

_MISSING = {
    "ResourceNotFoundException",
    "NoSuchEntity",
    "ServiceNotFoundException",
    "ServiceNotActiveException",
    "ClusterNotFoundException",
    "TaskSetNotFoundException",
    "ListenerNotFound",
    "RuleNotFound",
    "TargetGroupNotFound",
    "NoSuchKey",
    "ParameterNotFound",
}
#: ECS has no code of its own for a task definition that is not there.
_NO_REVISION = ("Unable to describe task definition", "task definition does not exist")
_EXISTS = {"ResourceConflictException", "ResourceExistsException"}
#: Lambda says with the same code that another change is still going on.
_UNSETTLED = ("in progress", "cannot be performed at this time", "Pending")
_FENCED = {"PreconditionFailedException", "ConditionalCheckFailedException"}
_PASSING = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ServiceException",
    "ServerException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "UpdateInProgressException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}


class AwsProvider(BaseModel):
    """`config` of a platform provider of type LAMBDA or ECS. Everything unset is the SDK's usual chain."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    region: str
    profile: str | None = None
    credentials_file: str | None = Field(None, alias="credentialsFile")
    role_arn: str | None = Field(None, alias="roleARN")
    token_file: str | None = Field(None, alias="tokenFile")


@asynccontextmanager
async def client(service: str, provider: AwsProvider) -> AsyncIterator[Any]:
    """An SDK client whose credentials come from `provider`, else from environment, container or instance.

    An agent keeps it: a new one asks for credentials and shakes hands with AWS again.
    """
    with errors_in_our_words(service):
        key = (service, provider.model_dump_json())
        async with lent(key, partial(_client, service, provider), age=LIFETIME) as kept:
            yield kept


@asynccontextmanager
async def _client(service: str, provider: AwsProvider) -> AsyncIterator[Any]:
    session = AioSession(profile=provider.profile)
    session.register_component("data_loader", _descriptions())
    if provider.credentials_file:
        session.set_config_variable("credentials_file", provider.credentials_file)
    settings = AioConfig(
        retries={"mode": "standard", "max_attempts": 6},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=CALLS_AT_ONCE,
        user_agent_extra="pipecd",
    )
    credentials = await _role_credentials(session, provider)
    async with session.create_client(
        service, region_name=provider.region, config=settings, **credentials
    ) as made:
        yield made


@cache
def _descriptions() -> Loader:
    """AWS's descriptions of its services: megabytes of JSON, read once rather than for each call."""
    loader: Loader = AioSession().get_component("data_loader")
    return loader


async def _role_credentials(session: AioSession, provider: AwsProvider) -> Mapping[str, str]:
    if not provider.role_arn or not provider.token_file:
        return {}
    try:
        token = Path(provider.token_file).read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"the tokenFile {provider.token_file} cannot be read: {error.strerror}",
            remedy="correct tokenFile of the platform provider, or mount the file",
        ) from error
    async with session.create_client("sts", region_name=provider.region) as sts:
        answer = await sts.assume_role_with_web_identity(
            RoleArn=provider.role_arn, RoleSessionName="piped", WebIdentityToken=token
        )
    given = answer["Credentials"]
    return {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }


@contextmanager
def errors_in_our_words(service: str) -> Iterator[None]:
    """Turns what the SDK raises into `pipecd.errors`; only a missing resource is ever `NotFound`."""
    try:
        yield
    except ClientError as error:
        raise _translated(service, error) from error
    except (NoCredentialsError, PartialCredentialsError, TokenRetrievalError) as error:
        raise ConfigError(
            f"no AWS credentials for {service}: {error}",
            remedy="give the agent's container or instance a role, or set credentialsFile or profile",
        ) from error
    except (ConnectionError, HTTPClientError) as error:
        raise Temporary(f"{service} cannot be reached: {error}") from error
    except ParamValidationError as error:
        raise ConfigError(f"{service}: {error}", remedy="look at the application's files") from error
    except BotoCoreError as error:
        raise ConfigError(f"{service}: {error}", remedy="look at the platform provider's config") from error


def _translated(service: str, error: ClientError) -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", str(error))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{service} {error.operation_name}: {message}"
    if code in _MISSING or (code == "ClientException" and any(word in message for word in _NO_REVISION)):
        return NotFound(text)
    if code in _EXISTS and any(word in message for word in _UNSETTLED):
        return Temporary(text)
    if code in _EXISTS:
        return AlreadyExists(text)
    if code in _FENCED:
        return Conflict(text)
    if code in _PASSING or status >= 500:
        return Temporary(text)
    if code in _EXPIRED:
        return Refused(text, remedy="the credentials have expired: renew them or use a role")
    if code in _DENIED or status == 403:
        return Refused(text, remedy=f"allow {service}:{error.operation_name} to the agent's role")
    return Refused(text)


def tags(*, piped: str, application: str, commit: str, own: Mapping[str, str]) -> dict[str, str]:
    """The user's tags and the ones by which the agent finds its resources again."""
    return {**own, MANAGED_BY: "piped", PIPED: piped, APPLICATION: application, COMMIT: commit}


def stale_tags(live: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Keys that Git no longer asks for; AWS's own `aws:` tags cannot be removed."""
    return sorted(key for key in live if key not in wanted and not key.startswith("aws:"))

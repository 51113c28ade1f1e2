"""Shared by ECS and Lambda: SDK clients from the provider's settings, and AWS errors as `pipecd.errors`.

Nothing here is specific to one service's resources. The SDK retries throttling and broken connections
(`standard` mode, bounded); errors that remain after its retries reach the stage as one of `pipecd.errors`.
The SDK is imported at the first call, because it takes 20 MB of memory and most of a second.
"""

import copy
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from pipecd import tracing
from pipecd.errors import ConfigError, Temporary, UserError
from pipecd.platforms.aws_errors import meaning
from pipecd.platforms.connections import shared_connection

if TYPE_CHECKING:
    from aiobotocore.hooks import AioHierarchicalEmitter
    from aiobotocore.session import AioSession
    from botocore.exceptions import ClientError
    from botocore.loaders import Loader

#: Tag keys, the same as PipeCD's.
MANAGED_BY, PIPED, APPLICATION, COMMIT = (
    "pipecd-dev-managed-by",
    "pipecd-dev-piped",
    "pipecd-dev-application",
    "pipecd-dev-commit-hash",
)

#: Maximum age of a client (seconds). Keys on disk are rotated, and a web identity's credentials last an hour.
CLIENT_MAX_AGE = 600.0
#: All deployments of an agent share a client.
MAX_POOL_CONNECTIONS = 50
#: Key of the span in the context of a request, which the SDK passes to all hooks.
_SPAN = "pipecd_span"
#: Between the first two calls that wait for a change (seconds).
FIRST_POLL_DELAY = 0.25


class AwsProvider(BaseModel):
    """`config` of a platform provider of type LAMBDA or ECS. Unset fields use the SDK's default chain."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    region: str
    """AWS region, such as `eu-central-1`."""
    profile: str | None = None
    """Profile in the credentials file. Default: `AWS_PROFILE`, otherwise `default`."""
    credentials_file: str | None = Field(default=None, alias="credentialsFile")
    """Path of an AWS credentials file. Default: credentials of the environment, container or instance."""
    role_arn: str | None = Field(default=None, alias="roleARN")
    """ARN of a role to assume with the token in `tokenFile`."""
    token_file: str | None = Field(default=None, alias="tokenFile")
    """Path of a web identity token (OIDC)."""


def poll_delay(elapsed: float, longest: float) -> float:
    """Seconds until the next check of a change that is awaited for `elapsed` seconds.

    Most changes complete within seconds, and a user waits for them; those that don't are polled less often.
    """
    return min(max(elapsed / 2, FIRST_POLL_DELAY), longest)


@asynccontextmanager
async def client(service: str, provider: AwsProvider) -> AsyncIterator[Any]:
    """An SDK client whose credentials come from `provider`, else from environment, container or instance.

    Clients are shared, because a new one has to fetch credentials and open new TLS connections.
    """
    with translate_errors(service):
        key = (service, provider.model_dump_json())
        open_client = partial(_open_client, service, provider)
        async with shared_connection(key, open_client, max_age=CLIENT_MAX_AGE) as sdk:
            yield sdk


@asynccontextmanager
async def _open_client(service: str, provider: AwsProvider) -> AsyncIterator[Any]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    session = AioSession(
        profile=provider.profile, event_hooks=copy.copy(_sdk_hooks()), include_builtin_handlers=False
    )
    session.register_component("data_loader", _service_models())
    if provider.credentials_file:
        session.set_config_variable("credentials_file", provider.credentials_file)
    settings = AioConfig(
        retries={"mode": "standard", "max_attempts": 6},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=MAX_POOL_CONNECTIONS,
        user_agent_extra="pipecd",
    )
    credentials = await _role_credentials(session, provider)
    async with session.create_client(
        service, region_name=provider.region, config=settings, **credentials
    ) as sdk:
        _trace_requests(sdk)
        yield sdk


def _trace_requests(sdk: Any) -> None:
    """A span for each operation that is part of a trace."""

    def begin(model: Any, context: dict[str, Any], **_: Any) -> None:
        name = f"{model.service_model.service_id.hyphenize()} {model.name}"
        if span := tracing.begin(name, attributes={"rpc.system": "aws-api"}):
            context[_SPAN] = span

    def end(context: dict[str, Any], http_response: Any = None, exception: Any = None, **_: Any) -> None:
        if span := context.pop(_SPAN, None):
            status = getattr(http_response, "status_code", 0)
            span.set_attribute("http.response.status_code", status)
            if exception is not None or status > 399:
                span.fail(f"{type(exception).__name__}" if exception else str(status))
            span.end()

    sdk.meta.events.register("before-call", begin)
    sdk.meta.events.register("after-call", end)
    sdk.meta.events.register("after-call-error", end)


@cache
def _sdk_hooks() -> "AioHierarchicalEmitter":
    """The SDK's own event handlers. Registering them takes most of the time of opening a client."""
    from aiobotocore.hooks import AioHierarchicalEmitter
    from aiobotocore.session import AioSession

    hooks = AioHierarchicalEmitter()
    AioSession(event_hooks=hooks)
    return hooks


@cache
def _service_models() -> "Loader":
    """The SDK's service models: megabytes of JSON, read once instead of for each client."""
    from aiobotocore.session import AioSession

    loader: Loader = AioSession().get_component("data_loader")
    return loader


async def _role_credentials(session: "AioSession", provider: AwsProvider) -> Mapping[str, str]:
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
        response = await sts.assume_role_with_web_identity(
            RoleArn=provider.role_arn, RoleSessionName="piped", WebIdentityToken=token
        )
    credentials = response["Credentials"]
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


@contextmanager
def translate_errors(service: str) -> Iterator[None]:
    """Raise the SDK's errors as `pipecd.errors`; only a missing resource becomes `NotFound`."""
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

    try:
        yield
    except ClientError as error:
        raise _translate(service, error) from error
    except (NoCredentialsError, PartialCredentialsError, TokenRetrievalError) as error:
        raise ConfigError(
            f"no AWS credentials for {service}: {error}",
            remedy="give the agent's container or instance a role, or set credentialsFile or profile",
        ) from error
    except (ConnectionError, HTTPClientError) as error:
        raise Temporary(f"{service} is unreachable: {error}") from error
    except ParamValidationError as error:
        raise ConfigError(f"{service}: {error}", remedy="check the application's files") from error
    except BotoCoreError as error:
        raise ConfigError(f"{service}: {error}", remedy="check the platform provider's config") from error


def _translate(service: str, error: "ClientError") -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", str(error))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    found = meaning(code, message, status)
    text = f"{service} {error.operation_name}: {message}"
    remedy = found.remedy.format(call=f"{service}:{error.operation_name}")
    if issubclass(found.error, UserError):
        return found.error(text, remedy=remedy)
    return found.error(f"{text}; {remedy}")


def resource_tags(
    *, piped: str, application: str, commit: str, user_tags: Mapping[str, str]
) -> dict[str, str]:
    """The user's tags, plus the tags by which the agent identifies its resources."""
    return {**user_tags, MANAGED_BY: "piped", PIPED: piped, APPLICATION: application, COMMIT: commit}


def stale_tags(live: Mapping[str, str], desired: Mapping[str, str]) -> list[str]:
    """Keys that are no longer in Git; AWS's own `aws:` tags cannot be removed."""
    return sorted(key for key in live if key not in desired and not key.startswith("aws:"))

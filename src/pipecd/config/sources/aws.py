"""Reads a configuration from AWS Secrets Manager or from a Systems Manager parameter.

Credentials come from the SDK's default chain: environment, profile, container role, instance role. The SDK
runs in a thread, because its asynchronous variant doubles the memory of an idle launcher.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipecd.config.sources.text import Text, parse_secret
from pipecd.errors import ConfigError, PipecdError, Temporary

_NOT_FOUND = {"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"}
_EXPIRED = {"ExpiredTokenException", "ExpiredToken", "RequestExpired"}
_UNKNOWN_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
}
_KEY_ERRORS = {"DecryptionFailure", "InvalidKeyId", "KMSAccessDeniedException", "KMSInvalidStateException"}
_TRANSIENT = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}


@dataclass(frozen=True, kw_only=True)
class _Service:
    """One of the two AWS services, with the wording of its errors."""

    #: The SDK's name of the service.
    name: str
    #: The IAM action that reads a value.
    action: str
    #: What the service stores: secret or parameter.
    noun: str
    #: The remedy if the value does not exist.
    not_found_remedy: str


_SECRETS = _Service(
    name="secretsmanager",
    action="secretsmanager:GetSecretValue",
    noun="secret",
    not_found_remedy="create it, or correct the flag; names are local to the region and account",
)
_PARAMETERS = _Service(
    name="ssm",
    action="ssm:GetParameter",
    noun="parameter",
    not_found_remedy="create it as a SecureString, or correct the flag; names are local to the region",
)


@dataclass(frozen=True)
class SecretsManager:
    """`id` is the secret's ARN or name; the version is the current one."""

    id: str

    async def read(self) -> Text:
        answer = await asyncio.to_thread(self._reader.call, "get_secret_value", SecretId=self.id)
        value = answer.get("SecretString")
        return parse_secret(
            value.encode() if value is not None else answer["SecretBinary"], self._reader.title
        )

    @cached_property
    def _reader(self) -> "_Reader":
        return _Reader(_SECRETS, self.id)


@dataclass(frozen=True)
class ParameterStore:
    """`id` is the parameter's name or ARN. A SecureString is decrypted."""

    id: str

    async def read(self) -> Text:
        answer = await asyncio.to_thread(
            self._reader.call, "get_parameter", Name=self.id, WithDecryption=True
        )
        return parse_secret(answer["Parameter"]["Value"].encode(), self._reader.title)

    @cached_property
    def _reader(self) -> "_Reader":
        return _Reader(_PARAMETERS, self.id)


class _Reader:
    """An SDK client, created at the first call and reused, because the launcher reads every minute."""

    def __init__(self, service: _Service, id: str) -> None:
        self._service, self._id = service, id
        #: What errors call the value.
        self.title = f"AWS {service.noun} {id}"
        self._client: Any = None

    def call(self, operation: str, **request: Any) -> Mapping[str, Any]:
        """Call the service. Raises ConfigError, or Temporary if the service is unavailable."""
        try:
            from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
            from botocore.exceptions import ConnectionError as AwsConnectionError
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self.title} cannot be read: the AWS SDK is not installed",
                remedy='install it: pip install "pipecd[aws]"',
            ) from error
        try:
            response: Mapping[str, Any] = getattr(self._get_client(), operation)(**request)
            return response
        except ClientError as error:
            # Without the cause: the service's message could contain part of the value.
            raise self._response_error(error.response) from None
        except (HTTPClientError, AwsConnectionError) as error:
            raise Temporary(f"AWS {self._service.name} cannot be reached: {type(error).__name__}") from error
        except BotoCoreError as error:
            raise self._client_error(error) from error

    def _get_client(self) -> Any:
        if self._client is None:
            from botocore.config import Config
            from botocore.session import Session

            settings = Config(
                connect_timeout=5,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 3},
                user_agent_extra="pipecd",
            )
            self._client = Session().create_client(
                self._service.name, region_name=_region(self._id), config=settings
            )
        return self._client

    def _client_error(self, error: Exception) -> PipecdError:
        """For an error raised by the SDK before it sends the request."""
        match type(error).__name__:
            case "NoRegionError":
                what = "no AWS region is configured"
                remedy = "specify the ARN instead of the name, or set AWS_REGION"
            case "NoCredentialsError" | "PartialCredentialsError" | "CredentialRetrievalError":
                what = "there are no AWS credentials"
                remedy = "assign a role to the container or instance, or set AWS_PROFILE or AWS_ACCESS_KEY_ID"
            case "UnauthorizedSSOTokenError" | "SSOTokenLoadError" | "TokenRetrievalError":
                what, remedy = "the AWS login has expired", "log in again: aws sso login"
            case "ProfileNotFound":
                what, remedy = "the AWS profile does not exist", "correct AWS_PROFILE"
            case name:
                what, remedy = f"the AWS SDK rejected the request ({name})", "check the flag's value"
        return ConfigError(f"{self.title} cannot be read: {what}", remedy=remedy)

    def _response_error(self, response: Mapping[str, Any]) -> PipecdError:
        error = response.get("Error", {})
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _TRANSIENT or status >= 500:
            return Temporary(f"AWS {self._service.name} is temporarily unavailable ({code})")
        what, remedy = self._describe(code, message, status)
        return ConfigError(f"{self.title} {what}", remedy=remedy)

    def _describe(self, code: str, message: str, status: int) -> tuple[str, str]:
        """What is wrong, and the remedy. `message` is evaluated but never shown."""
        service = self._service
        if code in _NOT_FOUND:
            if "staging label" in message:
                return "has no value yet", "store the agent's configuration in it"
            return f"does not exist in {self._client.meta.region_name}", service.not_found_remedy
        if code in _KEY_ERRORS or (code in _DENIED and ("KMS" in message or "kms:" in message)):
            return "cannot be decrypted", "grant the role kms:Decrypt on its key"
        if code in _DENIED:
            return "cannot be read by this role", f"grant the role {service.action} on it"
        if code in _EXPIRED:
            return (
                "cannot be read: the AWS credentials have expired",
                "renew them, check the clock, or use a role",
            )
        if code in _UNKNOWN_CREDENTIALS:
            return "cannot be read: AWS does not know the credentials", "check the access key and the clock"
        if code == "InvalidRequestException" and "delet" in message:
            return "is marked for deletion", "restore it, or specify another one"
        if status == 403:
            # A proxy or an endpoint policy denies access with its own error codes.
            return "cannot be read by this role", f"grant the role {service.action} on it"
        return f"cannot be read ({code})", "check the flag's value"


def _region(id: str) -> str | None:
    """The region of an ARN, else AWS_REGION as set in containers; None for the SDK's own settings."""
    parts = id.split(":")
    if len(parts) >= 6 and parts[0] == "arn" and parts[3]:
        return parts[3]
    return os.environ.get("AWS_REGION") or None

"""A configuration in AWS: Secrets Manager, or a parameter of Systems Manager.

Credentials come from the SDK's usual chain: environment, profile, container role, instance role. The SDK
runs in a thread, because its asynchronous sister costs an idle launcher twice the memory.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipecd.config.sources.text import Text, of_secret
from pipecd.errors import ConfigError, PipecdError, Temporary

_ABSENT = {"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"}
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
_KEY_TROUBLE = {"DecryptionFailure", "InvalidKeyId", "KMSAccessDeniedException", "KMSInvalidStateException"}
_PASSING = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}


@dataclass(frozen=True, kw_only=True)
class _Service:
    """How one of the two services is called, and what its things are called in sentences."""

    name: str
    action: str
    thing: str
    absent: str


_SECRETS = _Service(
    name="secretsmanager",
    action="secretsmanager:GetSecretValue",
    thing="secret",
    absent="create it, or correct the flag; a name is looked up in this region and account only",
)
_PARAMETERS = _Service(
    name="ssm",
    action="ssm:GetParameter",
    thing="parameter",
    absent="create it as a SecureString, or correct the flag; its name is looked up in this region only",
)


@dataclass(frozen=True)
class SecretsManager:
    """`id` is the secret's ARN or name; the version is the current one."""

    id: str

    async def read(self) -> Text:
        answer = await asyncio.to_thread(self._door.ask, "get_secret_value", SecretId=self.id)
        value = answer.get("SecretString")
        return of_secret(value.encode() if value is not None else answer["SecretBinary"], self._door.title)

    @cached_property
    def _door(self) -> "_Door":
        return _Door(_SECRETS, self.id)


@dataclass(frozen=True)
class ParameterStore:
    """`id` is the parameter's name or ARN. A SecureString is decrypted."""

    id: str

    async def read(self) -> Text:
        answer = await asyncio.to_thread(self._door.ask, "get_parameter", Name=self.id, WithDecryption=True)
        return of_secret(answer["Parameter"]["Value"].encode(), self._door.title)

    @cached_property
    def _door(self) -> "_Door":
        return _Door(_PARAMETERS, self.id)


class _Door:
    """One SDK client, made at the first call and kept, so that a look a minute costs little."""

    def __init__(self, service: _Service, id: str) -> None:
        self._service, self._id = service, id
        self.title = f"AWS {service.thing} {id}"
        self._client: Any = None

    def ask(self, operation: str, **request: Any) -> Mapping[str, Any]:
        try:
            from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
            from botocore.exceptions import ConnectionError as Unconnected
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self.title} cannot be read: the AWS SDK is not installed",
                remedy='install it: pip install "pipecd[aws]"',
            ) from error
        try:
            answer: Mapping[str, Any] = getattr(self._connected(), operation)(**request)
            return answer
        except ClientError as error:
            # Without its cause: what the service says is told where it helps, and nowhere else.
            raise self._refusal(error.response) from None
        except (HTTPClientError, Unconnected) as error:
            raise Temporary(f"AWS {self._service.name} cannot be reached: {type(error).__name__}") from error
        except BotoCoreError as error:
            raise self._before_the_call(error) from error

    def _connected(self) -> Any:
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

    def _before_the_call(self, error: Exception) -> PipecdError:
        match type(error).__name__:
            case "NoRegionError":
                what, remedy = "no AWS region is known", "give the ARN instead of the name, or set AWS_REGION"
            case "NoCredentialsError" | "PartialCredentialsError" | "CredentialRetrievalError":
                what = "there are no AWS credentials"
                remedy = "give the container or instance a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID"
            case "UnauthorizedSSOTokenError" | "SSOTokenLoadError" | "TokenRetrievalError":
                what, remedy = "the AWS log-in has expired", "log in anew: aws sso login"
            case "ProfileNotFound":
                what, remedy = "the AWS profile does not exist", "correct AWS_PROFILE"
            case name:
                what, remedy = f"the AWS SDK refuses the request ({name})", "check the flag's value"
        return ConfigError(f"{self.title} cannot be read: {what}", remedy=remedy)

    def _refusal(self, response: Mapping[str, Any]) -> PipecdError:
        said = response.get("Error", {})
        code, message = str(said.get("Code", "")), str(said.get("Message", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _PASSING or status >= 500:
            return Temporary(f"AWS {self._service.name} is busy or away ({code})")
        what, remedy = self._sentence(code, message, status)
        return ConfigError(f"{self.title} {what}", remedy=remedy)

    def _sentence(self, code: str, message: str, status: int) -> tuple[str, str]:
        service = self._service
        if code in _ABSENT:
            if "staging label" in message:
                return "has no value yet", "put the agent's configuration into it"
            return f"does not exist in {self._client.meta.region_name}", service.absent
        if code in _KEY_TROUBLE or (code in _DENIED and ("KMS" in message or "kms:" in message)):
            return "cannot be decrypted", "allow kms:Decrypt on its key to the role"
        if code in _DENIED:
            return "may not be read by this role", f"allow {service.action} on it to the role"
        if code in _EXPIRED:
            return (
                "cannot be read: the AWS credentials have expired",
                "renew them, check the clock, or use a role",
            )
        if code in _UNKNOWN_CREDENTIALS:
            return "cannot be read: AWS does not know the credentials", "check the key pair and the clock"
        if code == "InvalidRequestException" and "delet" in message:
            return "is marked for deletion", "restore it, or name another one"
        if status == 403:
            # A proxy or an endpoint's policy says no in a form of its own.
            return "may not be read by this role", f"allow {service.action} on it to the role"
        return f"cannot be read ({code})", "check the flag's value"


def _region(id: str) -> str | None:
    """An ARN names its region; else what containers are given; else the SDK's own settings."""
    parts = id.split(":")
    if len(parts) >= 6 and parts[0] == "arn" and parts[3]:
        return parts[3]
    return os.environ.get("AWS_REGION") or None

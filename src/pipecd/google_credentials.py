"""Access tokens for Google's APIs. Used to read a configuration from Secret Manager, and by Cloud Run.

The credentials are those of a file (a service account's key, or the configuration of a workload identity
federation), else Google's application default credentials: the file in GOOGLE_APPLICATION_CREDENTIALS, the
gcloud login, or the service account of the machine or container.

On AWS, a workload identity federation exchanges the role of the machine or container for a Google token.
"""

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipecd.errors import ConfigError, Temporary
from pipecd.json_input import decode_json

if TYPE_CHECKING:
    from botocore.credentials import Credentials as AwsCredentials
    from botocore.session import Session

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
#: Of each request for a token (seconds).
_TIMEOUT = 15.0
#: What Google calls to verify an AWS role, as gcloud writes it into the file of a federation.
_STS_URL = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
#: In bytes.
_MAX_FILE_SIZE = 1024 * 1024


class GoogleCredentials:
    """Loaded at the first use, and renewed before they expire. Methods block, and may be called by threads.

    `purpose` begins the sentences of errors, such as `Google secret x cannot be read`. `data` is the content
    of a credentials file, instead of `file`.
    """

    def __init__(self, purpose: str, file: str = "", data: str = "") -> None:
        self._purpose, self._file, self._data = purpose, file, data
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._request: Any = None

    def headers(self) -> dict[str, str]:
        """The headers that authorize a request. Raises ConfigError, or Temporary if Google is unavailable."""
        try:
            from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self._purpose}: the Google authentication library is not installed",
                remedy='install it: pip install "pipecd[gcp]"',
            ) from error
        headers: dict[str, str] = {}
        try:
            with self._lock:
                if self._credentials is None:
                    self._load()
                self._credentials.before_request(self._request, "GET", "", headers)
        except DefaultCredentialsError as error:
            raise self._missing() from error
        except (OSError, ValueError) as error:
            what = (
                "credentialsData" if self._data else f"the credentials file {self._file or _default_file()}"
            )
            raise ConfigError(
                f"{self._purpose}: {what} cannot be used: {_reason(error)}",
                remedy=f"correct {'it' if self._data else 'credentialsFile'}, or create a new key",
            ) from error
        except TransportError as error:
            raise Temporary(f"Google's authentication cannot be reached: {type(error).__name__}") from error
        except GoogleAuthError as error:
            if error.retryable or _is_outage(error):
                raise Temporary(f"Google's authentication is unavailable: {type(error).__name__}") from error
            raise self._rejected(error) from error
        return headers

    def _load(self) -> None:
        import urllib3
        from google.auth import default
        from google.auth.transport.urllib3 import Request

        request_type: Any = Request
        self._request = request_type(urllib3.PoolManager(timeout=_TIMEOUT, retries=2))
        if self._data:
            self._credentials = _from_info(decode_json(self._data), "credentialsData")
        elif path := self._file or _federation_of_default():
            self._credentials = _from_info(_read(path), path)
        else:
            self._credentials, _ = default(scopes=[SCOPE], request=self._request)

    def _rejected(self, error: Exception) -> ConfigError:
        text = " ".join(str(part) for part in error.args)
        if "iam.serviceAccounts.getAccessToken" in text:
            return ConfigError(
                f"{self._purpose}: the workload identity may not act as the service account",
                remedy="grant its principal roles/iam.workloadIdentityUser on the service account",
            )
        if federated := _FEDERATION_ERROR.match(text):
            return ConfigError(
                f"{self._purpose}: Google does not accept the workload identity: {federated[0]}",
                remedy="check the audience, the attribute condition of the pool's provider, and AWS's role",
            )
        return ConfigError(
            f"{self._purpose}: the Google credentials were rejected or have expired",
            remedy="renew them: gcloud auth application-default login, or a new service account key",
        )

    def _missing(self) -> ConfigError:
        if file := self._file or ("credentialsData" if self._data else ""):
            return ConfigError(
                f"{self._purpose}: {file} is no file with Google credentials",
                remedy="write the path of a service account's key, or of a workload identity configuration",
            )
        return ConfigError(
            f"{self._purpose}: there are no Google credentials",
            remedy="run with a service account, or set GOOGLE_APPLICATION_CREDENTIALS",
        )


#: The answer of Google's Security Token Service to an identity that it does not accept.
_FEDERATION_ERROR = re.compile(r"Error code (?:access_denied|invalid_\w+|unauthorized_client)[^\n]{0,300}")


def _is_outage(error: Exception) -> bool:
    """Whether the Security Token Service failed. Google's library does not tell that from a rejection."""
    from google.auth.exceptions import OAuthError

    return isinstance(error, OAuthError) and not _FEDERATION_ERROR.match(str(error.args[0]))


def _from_info(info: Any, path: str) -> Any:
    """Raises ValueError, and DefaultCredentialsError for a file of another kind."""
    from google.auth import aws, identity_pool, impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2 import credentials, service_account

    kind = info.get("type") if isinstance(info, dict) else None
    types: dict[Any, Any] = {
        "service_account": service_account.Credentials.from_service_account_info,
        "authorized_user": credentials.Credentials.from_authorized_user_info,
        "impersonated_service_account": (
            impersonated_credentials.Credentials.from_impersonated_service_account_info
        ),
        "external_account": identity_pool.Credentials.from_info,
    }
    if _is_aws_federation(info):
        # Google's library accepts a source or a supplier.
        verification = info["credential_source"].get("regional_cred_verification_url")
        if verification == _STS_URL and (role := AwsRole.find()):
            info = {key: value for key, value in info.items() if key != "credential_source"}
            info["aws_security_credentials_supplier"] = role
        return aws.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    if kind not in types:
        raise DefaultCredentialsError(f"{path} has the type {kind}")  # type: ignore[no-untyped-call]
    return types[kind](info, scopes=[SCOPE])


def _read(path: str) -> Any:
    with Path(path).open("rb") as opened:
        return decode_json(opened.read(_MAX_FILE_SIZE))


def _is_aws_federation(info: Any) -> bool:
    source = info.get("credential_source") if isinstance(info, Mapping) else None
    return isinstance(source, Mapping) and "environment_id" in source


def _default_file() -> str:
    return os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")


def _federation_of_default() -> str:
    """The file of the default credentials if it is a federation with AWS, which `AwsRole` supports better."""
    path = _default_file()
    try:
        return path if path and _is_aws_federation(_read(path)) else ""
    except (OSError, ValueError):
        return ""


class AwsRole:
    """The AWS credentials of this process, as AWS's own tools find them. A supplier of Google's library.

    Google's library itself supports variables and EC2 instances, but not containers (Fargate, App Runner).
    """

    def __init__(self, session: "Session", credentials: "AwsCredentials") -> None:
        self._session, self._credentials = session, credentials

    @classmethod
    def find(cls) -> "AwsRole | None":
        """None without AWS credentials, and without AWS's library (`pipecd[aws]`)."""
        try:
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ModuleNotFoundError:
            return None
        session = Session()
        try:
            credentials = session.get_credentials()
        except BotoCoreError as error:
            raise Temporary(f"the AWS credentials cannot be read: {type(error).__name__}") from error
        return cls(session, credentials) if credentials else None

    def get_aws_security_credentials(self, context: object, request: object) -> Any:
        """Temporary credentials are renewed by AWS's library. Raises Temporary."""
        from botocore.exceptions import BotoCoreError
        from google.auth.aws import AwsSecurityCredentials

        try:
            found = self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise Temporary(f"the AWS credentials cannot be renewed: {type(error).__name__}") from error
        return AwsSecurityCredentials(found.access_key or "", found.secret_key or "", found.token)

    def get_aws_region(self, context: object, request: object) -> str:
        """Raises ConfigError if it is unknown."""
        from botocore.utils import IMDSRegionProvider

        region = os.environ.get("AWS_REGION") or self._session.get_config_variable("region")
        region = region or IMDSRegionProvider(self._session).provide()
        if not region:
            raise ConfigError(
                "the AWS region is unknown, which a workload identity federation needs",
                remedy="set the environment variable AWS_REGION",
            )
        return str(region)


def _reason(error: Exception) -> str:
    """Without the content of the file."""
    return str(error.strerror) if isinstance(error, OSError) else "it is not valid"

"""Access tokens for Google's APIs. Used to read a configuration from Secret Manager, and by Cloud Run.

The credentials are those of a file (a service account's key, or the configuration of a workload identity
federation), else Google's application default credentials: the file in GOOGLE_APPLICATION_CREDENTIALS, the
gcloud login, or the service account of the machine or container.
"""

import json
import threading
from pathlib import Path
from typing import Any

from pipecd.errors import ConfigError, Temporary

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
#: Of each request for a token (seconds).
_TIMEOUT = 15.0
#: In bytes.
_MAX_FILE_SIZE = 1024 * 1024


class GoogleCredentials:
    """Loaded at the first use, and renewed before they expire. Methods block, and may be called by threads.

    `purpose` begins the sentences of errors, such as `Google secret x cannot be read`.
    """

    def __init__(self, purpose: str, file: str = "") -> None:
        self._purpose, self._file = purpose, file
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
            raise ConfigError(
                f"{self._purpose}: the credentials file {self._file} cannot be used: {_reason(error)}",
                remedy="correct credentialsFile, or create a new key",
            ) from error
        except TransportError as error:
            raise Temporary(f"Google's authentication cannot be reached: {type(error).__name__}") from error
        except GoogleAuthError as error:
            if error.retryable:
                raise Temporary(f"Google's authentication is unavailable: {type(error).__name__}") from error
            raise ConfigError(
                f"{self._purpose}: the Google credentials were rejected or have expired",
                remedy="renew them: gcloud auth application-default login, or a new service account key",
            ) from error
        return headers

    def _load(self) -> None:
        import urllib3
        from google.auth import default
        from google.auth.transport.urllib3 import Request

        request_type: Any = Request
        self._request = request_type(urllib3.PoolManager(timeout=_TIMEOUT, retries=2))
        if self._file:
            self._credentials = _from_file(self._file)
        else:
            self._credentials, _ = default(scopes=[SCOPE], request=self._request)

    def _missing(self) -> ConfigError:
        if self._file:
            return ConfigError(
                f"{self._purpose}: {self._file} is no file with Google credentials",
                remedy="write the path of a service account's key, or of a workload identity configuration",
            )
        return ConfigError(
            f"{self._purpose}: there are no Google credentials",
            remedy="run with a service account, or set GOOGLE_APPLICATION_CREDENTIALS",
        )


def _from_file(path: str) -> Any:
    """Raises OSError, ValueError, and DefaultCredentialsError for a file of another kind."""
    from google.auth import aws, identity_pool, impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2 import credentials, service_account

    with Path(path).open("rb") as opened:
        info = json.loads(opened.read(_MAX_FILE_SIZE))
    kind = info.get("type") if isinstance(info, dict) else None
    types: dict[Any, Any] = {
        "service_account": service_account.Credentials.from_service_account_info,
        "authorized_user": credentials.Credentials.from_authorized_user_info,
        "impersonated_service_account": (
            impersonated_credentials.Credentials.from_impersonated_service_account_info
        ),
        "external_account": identity_pool.Credentials.from_info,
    }
    if kind == "external_account" and "environment_id" in (info.get("credential_source") or {}):
        return aws.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    if kind not in types:
        raise DefaultCredentialsError(f"{path} has the type {kind}")  # type: ignore[no-untyped-call]
    return types[kind](info, scopes=[SCOPE])


def _reason(error: Exception) -> str:
    """Without the content of the file."""
    return str(error.strerror) if isinstance(error, OSError) else "it is not valid"

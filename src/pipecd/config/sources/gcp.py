"""A configuration in Google Cloud's Secret Manager, over its REST interface.

Credentials are Google's application default ones: a file that GOOGLE_APPLICATION_CREDENTIALS names, the
gcloud log-in, or the service account of the machine or container.
"""

import asyncio
import base64
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipecd.config.sources.text import Text, of_secret
from pipecd.errors import ConfigError, PipecdError, Temporary

_NAME = re.compile(
    r"projects/[^/\s]+/(locations/(?P<location>[a-z0-9-]+)/)?secrets/[A-Za-z0-9_-]+/versions/[^/\s]+"
)
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
#: As gcloud names it; for private endpoints.
_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
_TIMEOUT = 15.0


@dataclass(frozen=True)
class SecretManager:
    """`id` is `projects/P/secrets/S/versions/V`, with `latest` allowed for V."""

    id: str

    async def read(self) -> Text:
        value = await asyncio.to_thread(self._door.payload)
        return of_secret(value, self._door.title)

    @cached_property
    def _door(self) -> "_Door":
        return _Door(self.id)


class _Door:
    def __init__(self, id: str) -> None:
        found = _NAME.fullmatch(id)
        self.title = f"Google secret {id}"
        if not found:
            raise ConfigError(
                f"{self.title} is not the name of a secret's version",
                remedy="write projects/PROJECT/secrets/SECRET/versions/latest",
            )
        host = "secretmanager.googleapis.com"
        if found["location"]:
            host = f"secretmanager.{found['location']}.rep.googleapis.com"
        base = os.environ.get(_ENDPOINT) or f"https://{host}/"
        self._url = f"{base.rstrip('/')}/v1/{id}:access"
        self._credentials: Any = None
        self._pool: Any = None
        self._ask: Any = None

    def payload(self) -> bytes:
        try:
            import urllib3
            from google.auth import default
            from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
            from google.auth.transport.urllib3 import Request
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{self.title} cannot be read: Google's log-in is not installed",
                remedy='install it: pip install "pipecd[gcp]"',
            ) from error
        try:
            if self._credentials is None:
                self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=2)
                ask: Any = Request
                self._ask = ask(self._pool)
                self._credentials, _ = default(scopes=[_SCOPE], request=self._ask)
            if not self._credentials.valid:
                self._credentials.refresh(self._ask)
            headers: dict[str, str] = {}
            self._credentials.apply(headers)
            answer = self._pool.request("GET", self._url, headers=headers)
        except DefaultCredentialsError as error:
            raise ConfigError(
                f"{self.title} cannot be read: there are no Google credentials",
                remedy="run with a service account, or set GOOGLE_APPLICATION_CREDENTIALS",
            ) from error
        except (TransportError, urllib3.exceptions.HTTPError) as error:
            raise Temporary(f"Google Secret Manager cannot be reached: {type(error).__name__}") from error
        except GoogleAuthError as error:
            raise ConfigError(
                f"{self.title} cannot be read: the Google credentials are refused or have expired",
                remedy="renew them: gcloud auth application-default login, or a new service account key",
            ) from error
        if answer.status != 200:
            raise self._refusal(answer.status)
        return self._decoded(answer.data)

    def _decoded(self, body: bytes) -> bytes:
        try:
            return base64.b64decode(json.loads(body)["payload"]["data"], validate=True)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{self.title} came back in an unknown form",
                remedy=f"check {_ENDPOINT}: it must name Google's own API",
            ) from None

    def _refusal(self, status: int) -> PipecdError:
        match status:
            case 401:
                what, remedy = "cannot be read: the credentials have expired", "renew them"
            case 403:
                what = "may not be read by this account"
                remedy = "grant it roles/secretmanager.secretAccessor on the secret, and enable the API"
            case 404:
                what, remedy = (
                    "does not exist",
                    "create it and add a version, or correct project, name and version",
                )
            case 400:
                what, remedy = "cannot be read: this version is disabled or destroyed", "name another version"
            case 429:
                return Temporary("Google Secret Manager is busy")
            case _ if status >= 500:
                return Temporary(f"Google Secret Manager is away (HTTP {status})")
            case _:
                what, remedy = f"cannot be read (HTTP {status})", "check the flag's value"
        return ConfigError(f"{self.title} {what}", remedy=remedy)

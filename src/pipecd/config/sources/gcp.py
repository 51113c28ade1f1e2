"""Reads a configuration from Google Cloud Secret Manager, with its REST API.

Uses Google's application default credentials.
"""

import asyncio
import base64
import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipecd.config.sources.text import Text, parse_secret
from pipecd.errors import ConfigError, PipecdError, Temporary
from pipecd.google_credentials import GoogleCredentials
from pipecd.json_input import decode_json

_NAME = re.compile(
    r"projects/[^/\s]+/(locations/(?P<location>[a-z0-9-]+)/)?secrets/[A-Za-z0-9_-]+/versions/[^/\s]+"
)
#: gcloud's environment variable for a private endpoint.
_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
#: In seconds.
_TIMEOUT = 15.0


@dataclass(frozen=True)
class SecretManager:
    """`id` is `projects/P/secrets/S/versions/V`; V may be `latest`."""

    id: str

    async def read(self) -> Text:
        value = await asyncio.to_thread(self._reader.read_payload)
        return parse_secret(value, self._reader.title)

    @cached_property
    def _reader(self) -> "_Reader":
        return _Reader(self.id)


class _Reader:
    """An HTTP client with credentials, created at the first call and reused."""

    def __init__(self, id: str) -> None:
        match = _NAME.fullmatch(id)
        self.title = f"Google secret {id}"
        if not match:
            raise ConfigError(
                f"{self.title} is not the name of a secret version",
                remedy="write projects/PROJECT/secrets/SECRET/versions/latest",
            )
        host = "secretmanager.googleapis.com"
        if match["location"]:
            host = f"secretmanager.{match['location']}.rep.googleapis.com"
        base = os.environ.get(_ENDPOINT) or f"https://{host}/"
        self._url = f"{base.rstrip('/')}/v1/{id}:access"
        self._credentials = GoogleCredentials(f"{self.title} cannot be read")
        self._pool: Any = None

    def read_payload(self) -> bytes:
        """The secret's value. Raises ConfigError, or Temporary if the service is unavailable."""
        headers = self._credentials.headers()
        import urllib3

        if self._pool is None:
            self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=2)
        try:
            response = self._pool.request("GET", self._url, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Temporary(f"Google Secret Manager cannot be reached: {type(error).__name__}") from error
        if response.status != 200:
            raise self._response_error(response.status)
        return self._decode_payload(response.data)

    def _decode_payload(self, body: bytes) -> bytes:
        try:
            return base64.b64decode(decode_json(body)["payload"]["data"], validate=True)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{self.title} was returned in an unknown format",
                remedy=f"check {_ENDPOINT}: it must be an endpoint of the Google API",
            ) from None

    def _response_error(self, status: int) -> PipecdError:
        match status:
            case 401:
                what, remedy = "cannot be read: the credentials have expired", "renew them"
            case 403:
                what = "cannot be read by this account"
                remedy = "grant it roles/secretmanager.secretAccessor on the secret, and enable the API"
            case 404:
                what, remedy = (
                    "does not exist",
                    "create it and add a version, or correct project, name and version",
                )
            case 400:
                what, remedy = (
                    "cannot be read: this version is disabled or destroyed",
                    "specify another version",
                )
            case 429:
                return Temporary("Google Secret Manager limits the request rate")
            case _ if status >= 500:
                return Temporary(f"Google Secret Manager is unavailable (HTTP {status})")
            case _:
                what, remedy = f"cannot be read (HTTP {status})", "check the flag's value"
        return ConfigError(f"{self.title} {what}", remedy=remedy)

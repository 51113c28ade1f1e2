"""Requests to sign-in providers, limited in time and size. Errors are sentences for the login page."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from pipecd.bounded_body import read_bounded
from pipecd.clock import Clock, timeout
from pipecd.config.sso import check_https
from pipecd.controlplane.auth.sso.grants import GrantEnded
from pipecd.errors import ConfigError, Temporary
from pipecd.json_input import decode_json

#: Size of a response, in bytes.
MAX_SIZE = 1024 * 1024


@cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


class Absent(Temporary):
    """The provider has nothing at the address."""


@dataclass(frozen=True)
class Response:
    """`body` is the decoded JSON, or the text of a JSON Web Token. `next`: URL of the next page, or empty."""

    status: int
    body: Any
    next: str


class Requests:
    """`name` is the provider in errors."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self._client, self.name = client, name

    async def send(self, method: str, url: str, **options: Any) -> Response:
        """Raises Temporary if the provider does not respond, ConfigError if `url` is not allowed."""
        try:
            check_https(url, "every address of the provider")
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error}") from None
        try:
            async with self._client.stream(method, url, **options) as response:
                data = await read_bounded(response.aiter_bytes(), MAX_SIZE)
                if data is None:
                    raise Temporary(f"{self.name} sent a response of more than {MAX_SIZE} bytes")
                next_page = str(response.links.get("next", {}).get("url", ""))
                status = response.status_code
                is_token = response.headers.get("content-type", "").partition(";")[0] == "application/jwt"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Temporary(f"{self.name} is unreachable: {reason}; try again in a moment") from None
        if status >= 500 or status == 429:
            raise Temporary(f"{self.name} cannot process sign-ins now (HTTP {status}); try again in a moment")
        try:
            body = data.decode("ascii") if is_token else decode_json(data)
        except ValueError:
            if status != 404:
                raise Temporary(f"{self.name} sent a response that is not JSON (HTTP {status})") from None
            body = None
        return Response(status, body, next_page)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at `url`. Raises Absent or Temporary."""
        response = await self.send("GET", url, headers=dict(headers or {}))
        return self.expect_object(response)

    def expect_object(self, response: Response) -> dict[str, Any]:
        """Raises Absent or Temporary."""
        if response.status == 404:
            raise Absent(f"{self.name} refused a request of the control plane (HTTP 404)")
        if response.status != 200 or not isinstance(response.body, dict):
            raise Temporary(f"{self.name} refused a request of the control plane (HTTP {response.status})")
        return response.body


@asynccontextmanager
async def open_requests(name: str, proxy_url: str, clock: Clock, seconds: float) -> AsyncIterator[Requests]:
    """Requests that end after `seconds`. Raises Temporary then."""
    try:
        client = httpx.AsyncClient(
            timeout=seconds,
            follow_redirects=False,
            verify=await asyncio.to_thread(_tls_context),
            proxy=proxy_url or None,
            headers={"user-agent": "pipecd", "accept": "application/json"},
        )
    except ValueError:
        raise ConfigError(f"{name}: proxyUrl is not the URL of a proxy") from None
    try:
        async with timeout(clock, seconds), client:
            yield Requests(client, name)
    except TimeoutError:
        raise Temporary(f"{name} did not respond within {seconds:g} s; try again in a moment") from None


class WrongClient(ConfigError):
    """The provider does not accept the client's id and secret, or how they were sent."""


#: Errors of a token endpoint that say that the client is wrong, and those that say it of the code alone.
_WRONG_CLIENT = ("invalid_client", "unauthorized_client", "incorrect_client_credentials")
_WRONG_CODE = ("invalid_grant", "bad_verification_code")
_WRONG_REFRESH_TOKEN = ("invalid_grant", "bad_refresh_token")


async def exchange_code(
    requests: Requests, url: str, form: Mapping[str, str], **options: Any
) -> dict[str, Any]:
    """The response of a token endpoint. Raises Temporary or ConfigError."""
    response, body = await _request_token(requests, url, form, **options)
    if problem := body.get("error"):
        description = str(body.get("error_description") or "")[:200]
        raise Temporary(f"{requests.name} refused the sign-in: {str(problem)[:100]} {description}".strip())
    return requests.expect_object(response)


async def refresh(requests: Requests, url: str, form: Mapping[str, str], **options: Any) -> dict[str, Any]:
    """The response of a token endpoint to a refresh token.

    Raises GrantEnded if it does not accept it, Temporary or ConfigError.
    """
    response, body = await _request_token(requests, url, form, **options)
    problem = body.get("error")
    if problem in _WRONG_REFRESH_TOKEN:
        raise GrantEnded(f"{requests.name} does not accept the refresh token: {problem}")
    if problem:
        raise Temporary(f"{requests.name} refused to refresh the sign-in: {str(problem)[:100]}")
    return requests.expect_object(response)


async def get_as_user(requests: Requests, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object at `url`. Raises GrantEnded if the access token is not accepted, or Temporary."""
    return requests.expect_object(await send_as_user(requests, url, headers))


async def send_as_user(requests: Requests, url: str, headers: Mapping[str, str]) -> Response:
    """Raises GrantEnded if the access token is not accepted, or Temporary."""
    response = await requests.send("GET", url, headers=dict(headers))
    if response.status == 401:
        raise GrantEnded(f"{requests.name} does not accept the access token")
    return response


async def check_client(requests: Requests, url: str, form: Mapping[str, str], **options: Any) -> None:
    """Verify that a token endpoint accepts the client, by an exchange of a code that no user has.

    Raises Temporary or ConfigError.
    """
    response, body = await _request_token(requests, url, form, **options)
    problem = body.get("error")
    if problem not in _WRONG_CODE:
        description = str(body.get("error_description") or f"HTTP {response.status}")[:200]
        reason = f"{str(problem)[:100]} ({description})"
        raise ConfigError(f"{requests.name} refused a request for a token: {reason}")


async def _request_token(
    requests: Requests, url: str, form: Mapping[str, str], **options: Any
) -> tuple[Response, dict[str, Any]]:
    """The response, and its object or an empty one. Raises Temporary or WrongClient."""
    response = await requests.send("POST", url, data=dict(form), **options)
    body = response.body if isinstance(response.body, dict) else {}
    problem = body.get("error")
    refused = response.status == 401 and problem not in _WRONG_CODE + _WRONG_REFRESH_TOKEN
    if refused or problem in _WRONG_CLIENT:
        raise WrongClient(
            f"{requests.name} does not accept the client's id and secret: {str(problem or 'HTTP 401')[:100]}"
        )
    return response, body

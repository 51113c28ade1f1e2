"""Webhooks of Git hosts: `POST /hooks/{github,gitlab,bitbucket,gitea}`.

A verified push event only notifies the agents that use the repository; they then check Git themselves. A
forged event, even with a valid signature, could therefore cause a check but not a deployment.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipecd.bounded_body import read_bounded
from pipecd.controlplane.auth.client_address import TrustedProxies
from pipecd.controlplane.http.client_address import http_client_address
from pipecd.controlplane.rpc.watch import RepositoryNotifier
from pipecd.json_input import decode_json

log = structlog.get_logger()

#: In bytes. GitHub's limit is 25 MB; events that name a repository are much smaller.
MAX_BODY = 5 * 1024 * 1024
#: Of an event: Bitbucket names up to five addresses of one repository.
MAX_REMOTES = 20
#: In characters; longer remotes cannot be those of an agent.
MAX_REMOTE_LENGTH = 4096


@dataclass(frozen=True, kw_only=True)
class GitHost:
    """How to verify the events of one kind of Git host, and where they name the repository."""

    verify: Callable[[Headers, bytes, bytes], bool]
    #: Paths to the fields of the body that name a remote.
    remotes: Sequence[Sequence[str]]


def _signed(header: str, prefix: str = "") -> Callable[[Headers, bytes, bytes], bool]:
    """Verifies the HMAC-SHA256 of the body in `header`, in hexadecimal."""

    def verify(headers: Headers, body: bytes, secret: bytes) -> bool:
        signature = headers.get(header, "")
        expected = prefix + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(signature.encode(), expected.encode())

    return verify


def _token(header: str) -> Callable[[Headers, bytes, bytes], bool]:
    """Verifies the secret itself in `header`, as GitLab sends it."""

    def verify(headers: Headers, body: bytes, secret: bytes) -> bool:
        return hmac.compare_digest(headers.get(header, "").encode(), secret)

    return verify


_GITHUB_REMOTES = (
    ("repository", "clone_url"),
    ("repository", "ssh_url"),
    ("repository", "html_url"),
)

HOSTS: Mapping[str, GitHost] = {
    "github": GitHost(verify=_signed("x-hub-signature-256", "sha256="), remotes=_GITHUB_REMOTES),
    "gitea": GitHost(verify=_signed("x-gitea-signature"), remotes=_GITHUB_REMOTES),
    "gitlab": GitHost(
        verify=_token("x-gitlab-token"),
        remotes=(("project", "git_http_url"), ("project", "git_ssh_url"), ("project", "web_url")),
    ),
    "bitbucket": GitHost(
        verify=_signed("x-hub-signature", "sha256="),
        remotes=(
            ("repository", "links", "html", "href"),
            ("repository", "links", "clone", "href"),
        ),
    ),
}


class Webhooks:
    """`secrets` by Git host. With several secrets any one is accepted, so that a secret can be rotated."""

    def __init__(
        self,
        secrets: Mapping[str, Sequence[bytes]],
        notifier: RepositoryNotifier,
        proxies: TrustedProxies,
    ) -> None:
        self._secrets, self._notifier, self._proxies = secrets, notifier, proxies

    async def receive(self, request: Request) -> Response:
        name = request.path_params["host"]
        secrets = self._secrets.get(name, ())
        if name not in HOSTS or not secrets:
            return PlainTextResponse(
                f"no webhook for {name} is configured; add one under spec.webhooks", status_code=404
            )
        body = await read_bounded(request.stream(), MAX_BODY)
        if body is None:
            return PlainTextResponse("the request body is too large", status_code=413)
        host = HOSTS[name]
        if not any(host.verify(request.headers, body, secret) for secret in secrets):
            log.warning("webhook_rejected", host=name, peer=http_client_address(request, self._proxies))
            return PlainTextResponse("the signature does not match the configured secret", status_code=401)
        try:
            remotes = await asyncio.to_thread(extract_remotes, body, host)
        except ValueError as error:
            log.info("webhook_invalid", host=name, error=str(error))
            return PlainTextResponse(str(error), status_code=400)
        notified_agents = await self._notifier.notify_agents(remotes)
        log.info("webhook_received", host=name, remotes=remotes, agents=notified_agents)
        return PlainTextResponse("ok")


def extract_remotes(body: bytes, host: GitHost) -> Sequence[str]:
    """The remotes that the event in `body` names; none if the event does not concern a repository.

    Raises ValueError if the body is no event or names too many.
    """
    if body.startswith(b"payload="):
        # GitHub and Gitea send a form unless configured to send JSON.
        body = unquote_to_bytes(body.removeprefix(b"payload=").partition(b"&")[0].replace(b"+", b" "))
    try:
        event = decode_json(body)
    except ValueError:
        raise ValueError("the body is not a JSON document") from None
    remotes = {
        value: None
        for path in host.remotes
        for value in _values_at(event, path)
        if isinstance(value, str) and 0 < len(value) <= MAX_REMOTE_LENGTH
    }
    if len(remotes) > MAX_REMOTES:
        raise ValueError(f"the event names more than {MAX_REMOTES} remotes")
    return tuple(remotes)


def _values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """The values at `path`; lists along the path are searched element by element."""
    if isinstance(value, list):
        for item in value:
            yield from _values_at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values_at(value[path[0]], path[1:])

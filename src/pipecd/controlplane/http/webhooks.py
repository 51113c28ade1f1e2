"""Pushes told by Git hosts: `POST /hooks/{github,gitlab,bitbucket,gitea}`.

A genuine notice is a hint to the agents that have that repository, nothing more: they ask Git
themselves. So a forged one, were its signature found, could make somebody look, not deploy.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipecd.controlplane.rpc.watch import Hints

log = structlog.get_logger()

#: GitHub's own limit is 25 MB; what names a repository fits in far less.
MAX_BODY = 5 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Host:
    """How one kind of Git host proves itself, and where its notices name the repository."""

    genuine: Callable[[Headers, bytes, bytes], bool]
    #: Paths to the members of the body that name a remote.
    remotes: Sequence[Sequence[str]]


def _signed(header: str, prefix: str = "") -> Callable[[Headers, bytes, bytes], bool]:
    """An HMAC-SHA256 of the body in `header`, in hexadecimal."""

    def genuine(headers: Headers, body: bytes, secret: bytes) -> bool:
        shown = headers.get(header, "")
        expected = prefix + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(shown.encode(), expected.encode())

    return genuine


def _token(header: str) -> Callable[[Headers, bytes, bytes], bool]:
    """The secret itself in `header`, as GitLab sends it."""

    def genuine(headers: Headers, body: bytes, secret: bytes) -> bool:
        return hmac.compare_digest(headers.get(header, "").encode(), secret)

    return genuine


_GITHUB_LIKE = (
    ("repository", "clone_url"),
    ("repository", "ssh_url"),
    ("repository", "html_url"),
)

HOSTS: Mapping[str, Host] = {
    "github": Host(genuine=_signed("x-hub-signature-256", "sha256="), remotes=_GITHUB_LIKE),
    "gitea": Host(genuine=_signed("x-gitea-signature"), remotes=_GITHUB_LIKE),
    "gitlab": Host(
        genuine=_token("x-gitlab-token"),
        remotes=(("project", "git_http_url"), ("project", "git_ssh_url"), ("project", "web_url")),
    ),
    "bitbucket": Host(
        genuine=_signed("x-hub-signature", "sha256="),
        remotes=(
            ("repository", "links", "html", "href"),
            ("repository", "links", "clone", "href"),
        ),
    ),
}


class Webhooks:
    """`secrets` by host; several agree on any of them, so that one can be replaced in peace."""

    def __init__(self, secrets: Mapping[str, Sequence[bytes]], hints: Hints) -> None:
        self._secrets, self._hints = secrets, hints

    async def receive(self, request: Request) -> Response:
        name = request.path_params["host"]
        secrets = self._secrets.get(name, ())
        if name not in HOSTS or not secrets:
            return PlainTextResponse(
                f"no webhook of {name} is configured; add one under spec.webhooks", status_code=404
            )
        body = await _bounded(request)
        if body is None:
            return PlainTextResponse("the notice is too large", status_code=413)
        host = HOSTS[name]
        if not any(host.genuine(request.headers, body, secret) for secret in secrets):
            log.warning("webhook refused", host=name, peer=request.client.host if request.client else "")
            return PlainTextResponse("the signature does not fit the configured secret", status_code=401)
        remotes = tuple(dict.fromkeys(remotes_in(body, host)))
        told = await self._hints.repository_changed(remotes)
        log.info("webhook", host=name, remotes=remotes, agents=told)
        return PlainTextResponse("ok")


def remotes_in(body: bytes, host: Host) -> Iterator[str]:
    """The remotes that a notice names; none when it is no notice of a repository."""
    if body.startswith(b"payload="):
        # GitHub and Gitea send a form when they are not told to send JSON.
        body = parse_qs(body)[b"payload"][0]
    try:
        notice = json.loads(body)
    except (ValueError, RecursionError):
        return
    for path in host.remotes:
        yield from (value for value in _at(notice, path) if isinstance(value, str) and value)


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """What stands at `path`; lists on the way are looked into."""
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


async def _bounded(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)

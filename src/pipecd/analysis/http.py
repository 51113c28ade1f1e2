"""HTTP requests of analysis providers, with a limit of the answer's size. The caller bounds the time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipecd import tracing
from pipecd.bounded_body import read_bounded
from pipecd.certificates import tls_context
from pipecd.errors import Refused, Temporary
from pipecd.json_input import decode_json
from pipecd.secrets import strip_credentials

#: Of an answer (bytes).
MAX_SIZE = 10 * 1024 * 1024
#: Characters of an answer in an error.
_MAX_EXCERPT = 300
#: Of each step of a request (seconds); the stage has a timeout for the whole check.
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


async def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    data: Mapping[str, str] | None = None,
    json_body: Mapping[str, Any] | None = None,
    auth: tuple[str, str] | None = None,
) -> Answer:
    """Follows redirects. Raises Refused for a URL that is not http or https, Temporary without an answer."""
    import httpx

    if not url.startswith(("http://", "https://")):
        raise Refused(f"{url[:200]!r} is not an http or https URL", remedy="correct the URL")
    context = await tls_context()
    client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=True, max_redirects=10, verify=context)
    try:
        # Without the path and the query, in which a service may expect its credential.
        attributes = {"server.address": httpx.URL(url).host}
        with tracing.child(f"analysis {method}", attributes=attributes) as span:
            async with (
                client,
                client.stream(
                    method, url, headers=headers, params=params, data=data, json=json_body, auth=auth
                ) as response,
            ):
                body = await read_bounded(response.aiter_bytes(), MAX_SIZE)
            tracing.record_answer(span, response.status_code)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise Temporary(f"{_host(url)} does not answer: {error or type(error).__name__}") from error
    if body is None:
        raise Temporary(f"{_host(url)} sent more than {MAX_SIZE >> 20} MiB")
    return Answer(response.status_code, body)


def json_answer(service: str, answer: Answer) -> Any:
    """The JSON of a successful answer. Raises Refused for a wrong query or credential, else Temporary."""
    try:
        content = decode_json(answer.body)
    except ValueError:
        content = None
    if answer.status == 200 and content is not None:
        return content
    words = _words(content) or answer.body[:_MAX_EXCERPT].decode(errors="replace").strip()
    what = f"{service} answered {answer.status}: {words[:_MAX_EXCERPT]}"
    if answer.status in (401, 403):
        raise Refused(
            what, remedy="check the credentials of the analysis provider in the agent's configuration"
        )
    if answer.status in (400, 404, 422):
        raise Refused(what, remedy="correct the query, or the address of the analysis provider")
    raise Temporary(what)


def _words(content: Any) -> str:
    """The sentence of an error in JSON."""
    if not isinstance(content, Mapping):
        return ""
    errors = content.get("errors")
    if isinstance(errors, list):
        return ", ".join(map(str, errors))
    error = content.get("error") or content.get("message") or ""
    return str(error.get("message", error) if isinstance(error, Mapping) else error)


def _host(url: str) -> str:
    return strip_credentials(url).split("?", 1)[0][:200]

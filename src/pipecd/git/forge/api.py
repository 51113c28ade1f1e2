"""HTTP requests to the APIs of Git hosts: bounded answers, rate limits, and errors in words."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipecd import tracing
from pipecd.bounded_body import read_bounded
from pipecd.certificates import tls_context
from pipecd.errors import AlreadyExists, PipecdError, Refused, Temporary
from pipecd.json_input import decode_json

if TYPE_CHECKING:
    import httpx

#: Of each step of a request (seconds).
TIMEOUT = 30.0
#: Of an answer (bytes).
MAX_SIZE = 4 * 1024 * 1024
#: Characters of an answer in an error.
MAX_EXCERPT = 300
#: The delay after a refusal because of the rate that names none, and the longest that is obeyed (seconds).
DEFAULT_DELAY, MAX_DELAY = 60.0, 3600.0


@dataclass(frozen=True)
class Answer:
    """`content` is None if the answer is not JSON."""

    status: int
    content: Any
    headers: Mapping[str, str]

    @property
    def record(self) -> Mapping[str, Any]:
        """The JSON object. Raises Temporary if it is none."""
        if not isinstance(self.content, Mapping):
            raise Temporary("the Git host sent an answer that is none of its API")
        return self.content

    def records(self, key: str = "") -> list[Mapping[str, Any]]:
        """The JSON objects of a list, or of the list `key` of an object. Raises Temporary if it is none."""
        content = self.record.get(key) if key else self.content
        if not isinstance(content, list) or not all(isinstance(item, Mapping) for item in content):
            raise Temporary("the Git host sent an answer that is none of its API")
        return content


class Api:
    """The API of one Git host. `permission` of a call names what the token needs for it."""

    def __init__(self, client: "httpx.AsyncClient", name: str, address: str) -> None:
        self._client, self._name, self._address = client, name, address.rstrip("/")

    async def call(
        self,
        method: str,
        path: str,
        *,
        permission: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        exists: Callable[[Answer, str], bool] | None = None,
    ) -> Answer:
        """The answer of a successful request. `exists` tells, from the answer and its words, that the object
        to create exists.

        Raises AlreadyExists, Refused if a person must act, and Temporary. Redirects are not followed: they
        would carry the token to another address.
        """
        import httpx

        url, attributes = f"{self._address}{path}", {"server.address": self._name, "url.path": path}
        try:
            with tracing.child(f"git host {method}", attributes=attributes) as span:
                async with self._client.stream(method, url, params=params, json=body) as response:
                    received = await read_bounded(response.aiter_bytes(), MAX_SIZE)
                tracing.record_answer(span, response.status_code)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Temporary(f"{self._name} does not answer: {type(error).__name__}") from error
        if received is None:
            raise Temporary(f"{self._name} sent more than {MAX_SIZE >> 20} MiB")
        answer = Answer(response.status_code, _parse(received), dict(response.headers))
        if 200 <= answer.status < 300:
            return answer
        words = _words(answer.content) or received[:MAX_EXCERPT].decode(errors="replace").strip()
        if exists and exists(answer, words):
            raise AlreadyExists(f"{self._name}: {words[:MAX_EXCERPT]}")
        raise self._error(answer, words[:MAX_EXCERPT], permission)

    def _error(self, answer: Answer, words: str, permission: str) -> PipecdError:
        what = f"{self._name} answered {answer.status}: {words}".rstrip(": ")
        if (delay := rate_limit_delay(answer, words)) is not None:
            return Temporary(what, after=delay)
        if answer.status in (408, 409, 425) or answer.status >= 500:
            return Temporary(what)
        match answer.status:
            case 401:
                remedy = f"renew the token of {self._name} in spec.gitHosts of the agent"
            case 403 | 404:
                remedy = f"give the token of {self._name} in spec.gitHosts the permission {permission}"
            case 301 | 302 | 307 | 308:
                remedy = "the repository was moved: correct its remote, or gitHosts.apiURL"
            case _:
                remedy = "correct the settings of the repository on the Git host"
        return Refused(what, remedy=remedy)


@asynccontextmanager
async def open_api(
    name: str, address: str, headers: Mapping[str, str], auth: tuple[str, str] | None
) -> AsyncIterator[Api]:
    """`name` is the host in errors."""
    import httpx

    client = httpx.AsyncClient(
        timeout=TIMEOUT,
        follow_redirects=False,
        verify=await tls_context(),
        # GitHub refuses requests without a user agent.
        headers={"User-Agent": "pipecd", "Accept": "application/json", **headers},
        auth=auth,
    )
    async with client:
        yield Api(client, name, address)


def rate_limit_delay(answer: Answer, words: str) -> float | None:
    """When the next request is allowed (seconds), if the answer is a refusal because of the rate.

    GitHub also answers 403 for it: `X-RateLimit-Remaining` or the sentence says so.
    """
    headers = {name.lower(): value for name, value in answer.headers.items()}
    used_up = headers.get("x-ratelimit-remaining", headers.get("ratelimit-remaining")) == "0"
    limited = answer.status == 403 and (used_up or "rate limit" in words.lower() or "retry-after" in headers)
    if answer.status != 429 and not limited:
        return None
    retry_after = headers.get("retry-after", "")
    if _is_number(retry_after):
        return min(float(retry_after), MAX_DELAY)
    reset = headers.get("x-ratelimit-reset", headers.get("ratelimit-reset", ""))
    if used_up and _is_number(reset):
        try:
            now = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (TypeError, ValueError):
            return DEFAULT_DELAY
        return min(max(float(reset) - now, 1.0), MAX_DELAY)
    return DEFAULT_DELAY


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12


def _parse(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError:
        return None


def _words(content: Any) -> str:
    """The sentences of an error: every host writes it in another way."""
    if not isinstance(content, Mapping):
        return ""
    parts: list[str] = []
    for key in ("message", "error", "errors", "detail", "error_description"):
        parts += _sentences(content.get(key))
    return ", ".join(dict.fromkeys(filter(None, parts)))


def _sentences(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value[:20] for text in _sentences(item)]
    if isinstance(value, Mapping):
        texts = [value.get("message"), value.get("detail")]
        return [text for text in texts if isinstance(text, str)] or [
            f"{key} {text}" for key, item in list(value.items())[:20] for text in _sentences(item)
        ]
    return []


def text_of(record: Mapping[str, Any], *path: str) -> str:
    """The text at `path` of nested objects; empty if there is none."""
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def last_parts(path: str) -> tuple[str, str]:
    """Owner and name of a repository, quoted for an address. Raises Refused if the path has no owner."""
    owner, separator, name = path.rpartition("/")
    if not separator:
        raise Refused(f"the remote has no owner before {path!r}", remedy="correct the remote")
    return quote(owner.rpartition("/")[2], safe="~"), quote(name, safe="")


def page_url(url: str) -> str:
    """`url`, if it may be shown as a link."""
    return url if url.startswith(("https://", "http://")) and len(url) <= 2000 else ""


def number_of(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key)
    if not isinstance(value, int):
        raise Temporary("the Git host sent a pull request without a number")
    return value

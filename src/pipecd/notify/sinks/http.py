"""Requests of the sinks: bounded answers, and errors that say whether a repetition can help."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pipecd.certificates import tls_context
from pipecd.errors import Refused, Temporary
from pipecd.notify.network import Network

if TYPE_CHECKING:
    import httpx

#: Of a whole request (seconds). `Receivers` also limits the delivery.
TIMEOUT = 15.0
#: Of an answer (bytes); what follows is not read.
_MAX_ANSWER = 64 * 1024
_MAX_EXCERPT = 200
#: The longest delay that a receiver may request (seconds).
MAX_RETRY_AFTER = 3600.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    retry_after: float | None


async def post(url: str, body: bytes, headers: Mapping[str, str], network: Network | None = None) -> Answer:
    """Does not follow redirects. Raises Temporary if there is no answer.

    Without `network`, every address may be called. Otherwise raises Refused for one that must not.

    Errors name the host only: the path of a hook is a secret.
    """
    import httpx

    context = await tls_context()
    try:
        target, sent, options, extensions = httpx.URL(url), dict(headers), dict[str, Any](), dict[str, str]()
        if network:
            proxy = _proxy_for(target)
            options = {"proxy": proxy, "trust_env": False}
            address = await network.resolve(target.host, target.port, has_proxy=bool(proxy))
            if not proxy:
                # The address that was checked is the one that is called: a name can change its address.
                sent["Host"] = target.netloc.decode()
                extensions = {"sni_hostname": target.raw_host.decode()}
                target = target.copy_with(host=address)
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, verify=context, **options) as client,
            client.stream("POST", target, content=body, headers=sent, extensions=extensions) as response,
        ):
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > _MAX_ANSWER:
                    break
            return Answer(response.status_code, bytes(received[:_MAX_ANSWER]), _retry_after(response))
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise Temporary(f"{_host(url)} does not answer: {type(error).__name__}") from error


def _proxy_for(url: "httpx.URL") -> str | None:
    """That of the environment, such as `HTTPS_PROXY`."""
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    if proxy_bypass(url.host):
        return None
    return proxies.get(url.scheme) or proxies.get("all")


def raise_for(url: str, answer: Answer) -> None:
    """Raises Temporary for an answer that may change, Refused for others that are no success."""
    if 200 <= answer.status < 300:
        return
    text = answer.body[:_MAX_EXCERPT].decode(errors="replace").strip()
    message = f"{_host(url)} answered {answer.status}{': ' if text else ''}{text}"
    if answer.status in (408, 425, 429) or answer.status >= 500:
        raise Temporary(message, after=answer.retry_after)
    raise Refused(message, remedy="check the address and the credentials of the receiver")


def _retry_after(response: "httpx.Response") -> float | None:
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(float(value), MAX_RETRY_AFTER)
    try:
        delay = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(delay, 0.0), MAX_RETRY_AFTER)


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).hostname or "the receiver"
    except ValueError:
        return "the receiver"

"""Sends requests to the API server of one cluster.

Objects are plain dicts, as the API has them: nothing is lost that this agent does not know. Raises the errors
of `pipecd.errors`, and `errors.Rejected` with the server's reasons.
"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import AddrInfoType
from multidict import CIMultiDict

from pipecd import __version__, tracing
from pipecd.bounded_body import read_bounded
from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.errors import ConfigError, Conflict, PipecdError, Temporary
from pipecd.json_input import decode_json
from pipecd.platforms.kubernetes.cluster.credentials import Credentials, Login
from pipecd.platforms.kubernetes.cluster.errors import Expired, Rejected, error_of, read_status
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access
from pipecd.platforms.kubernetes.cluster.outage import Outage
from pipecd.platforms.kubernetes.cluster.proxy import find_proxy
from pipecd.platforms.kubernetes.cluster.rate_limit import RateLimit
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.metrics import REQUESTS
from pipecd.platforms.kubernetes.settings import ClientSettings

#: Larger answers are decoded outside the event loop (bytes).
_DECODE_IN_THREAD = 256 * 1024
#: How often a list is started again because its pages expired.
_LIST_ATTEMPTS = 3
#: How often a request is sent that a busy server refuses, if it asks for a short delay only (seconds).
_BUSY_ATTEMPTS, _SHORT_DELAY = 4, 5.0
_MAX_WARNINGS = 20
#: The server's answer to a JSON patch whose operation `test` fails; it names no reason.
_TEST_FAILED = "the server rejected our request due to an error in our request"
#: A connection is gone after half a minute without an answer: seconds, seconds, tries, milliseconds.
_TCP_OPTIONS = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}

Object = dict[str, Any]
Propagation = Literal["Background", "Foreground", "Orphan"]
_METADATA = "as={};g=meta.k8s.io;v=v1"
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`warnings` are the server's, such as of a deprecated version."""

    object: Object
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Response:
    """A complete answer, not decoded."""

    code: int
    body: bytes
    headers: Mapping[str, str]
    warnings: Sequence[str]


class ApiClient:
    """Created by `open_client`. Requests wait for their turn in the cluster's `RateLimit`."""

    def __init__(
        self,
        credentials: Credentials,
        session: aiohttp.ClientSession,
        clock: Clock,
        settings: ClientSettings,
        *,
        rate_limit: RateLimit,
    ) -> None:
        self._session, self._rate_limit, self._settings = session, rate_limit, settings
        self._credentials = credentials
        self._outage = Outage(clock)
        self.clock = clock

    @property
    def access(self) -> Access:
        """Changes when the kubeconfig does."""
        return self._credentials.access

    @property
    def _host(self) -> str:
        return urlsplit(self.access.server).netloc

    @property
    def name(self) -> str:
        """The cluster, for messages."""
        return self.access.server

    async def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Any path of the API, such as `/version`."""
        return await self.decode(await self.send("GET", path, params=params))

    async def get(
        self, resource: ResourceType, namespace: str, name: str, *, metadata_only: bool = False
    ) -> Object:
        """Raises NotFound."""
        if not metadata_only:
            answer: Object = await self.get_json(resource.path(namespace, name))
            return answer
        headers = {"Accept": accept_metadata("PartialObjectMetadata")}
        metadata = await self.decode(await self.send("GET", resource.path(namespace, name), headers=headers))
        # The answer names the kind of metadata.
        return {**metadata, "apiVersion": resource.api_version, "kind": resource.kind}

    async def list(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        label_selector: str = "",
        metadata_only: bool = False,
    ) -> list[Object]:
        """All objects, to the last page."""
        for _ in range(_LIST_ATTEMPTS):
            try:
                pages = self.list_pages(
                    resource, namespace, label_selector=label_selector, metadata_only=metadata_only
                )
                return [item for _, items in [page async for page in pages] for item in items]
            except Expired:
                continue
        raise Temporary(f"{self.name}: the list of {resource.plural} expired while it was read")

    async def list_pages(
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        label_selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[tuple[str, Sequence[Object]], None]:
        """Pairs of the list's resource version and the objects of one page. Raises Expired between pages."""
        params = {"limit": str(self._settings.page_size)}
        if label_selector:
            params["labelSelector"] = label_selector
        headers = {"Accept": accept_metadata("PartialObjectMetadataList")} if metadata_only else None
        while True:
            response = await self.send("GET", resource.path(namespace), params=params, headers=headers)
            page = await self.decode(response)
            metadata = page.get("metadata") or {}
            # The items of a list do not name their kind, or that of their metadata.
            kind = {"apiVersion": resource.api_version, "kind": resource.kind}
            yield (
                str(metadata.get("resourceVersion", "")),
                [{**item, **kind} for item in page.get("items") or ()],
            )
            if not metadata.get("continue"):
                return
            params = {**params, "continue": str(metadata["continue"])}

    async def apply(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        force: bool = True,
        dry_run: bool = False,
    ) -> Answer:
        """Server-side apply. Unknown fields are refused. Raises Conflict without `force`."""
        params = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        return await self._change(
            "PATCH",
            resource.path(namespace, name),
            body,
            params=params,
            content_type="application/apply-patch+yaml",
            dry_run=dry_run,
        )

    async def create(
        self,
        resource: ResourceType,
        namespace: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        dry_run: bool = False,
    ) -> Answer:
        """Raises AlreadyExists."""
        params = {"fieldManager": manager, "fieldValidation": "Strict"}
        return await self._change("POST", resource.path(namespace), body, params=params, dry_run=dry_run)

    async def replace(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        manager: str,
        dry_run: bool = False,
    ) -> Answer:
        """Raises Conflict if the object changed since `metadata.resourceVersion`, where `body` has one."""
        params = {"fieldManager": manager, "fieldValidation": "Strict"}
        return await self._change("PUT", resource.path(namespace, name), body, params=params, dry_run=dry_run)

    async def json_patch(
        self, resource: ResourceType, namespace: str, name: str, operations: Sequence[Mapping[str, Any]]
    ) -> Answer:
        """Raises Conflict if an operation `test` fails, because the object was changed meanwhile."""
        try:
            return await self._change(
                "PATCH",
                resource.path(namespace, name),
                operations,
                params={},
                content_type="application/json-patch+json",
            )
        except Rejected as error:
            if error.status.message == _TEST_FAILED:
                raise Conflict(f"{name} was changed by another program") from error
            raise

    async def delete(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        *,
        uid: str,
        propagation: Propagation = "Background",
    ) -> None:
        """Deletes the object with this uid. Raises NotFound, and Conflict if the name is another object's."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": propagation,
        }
        await self.send("DELETE", resource.path(namespace, name), body=options)

    async def _change(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        params: Mapping[str, str],
        content_type: str = "application/json",
        dry_run: bool = False,
    ) -> Answer:
        params = {**params, "dryRun": "All"} if dry_run else params
        response = await self.send(method, path, params=params, body=body, content_type=content_type)
        return Answer(object=await self.decode(response), warnings=response.warnings)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accepted: Sequence[int] = (),
    ) -> Response:
        """One request. Raises the error of an answer above 299, unless its code is in `accepted`."""
        for attempt in range(1, _BUSY_ATTEMPTS + 1):
            login = await self._credentials.login()
            with tracing.child(f"kubernetes {method}", attributes={"url.path": path}) as span:
                async with self._open(
                    method, path, login, params, headers, body, content_type, self._settings.request_timeout
                ) as response:
                    answer = Response(
                        code=response.status,
                        body=await self._read_body(response),
                        headers=response.headers,
                        warnings=_warnings(response.headers.getall("Warning", [])),
                    )
                if span:
                    span.set_attribute("http.response.status_code", answer.code)
            if answer.code == 401 and attempt == 1 and await self._credentials.reject(login):
                continue
            if answer.code > 299 and answer.code not in accepted:
                error = self._error(answer)
                if self._is_busy(answer) and attempt < _BUSY_ATTEMPTS:
                    continue
                raise error
            return answer
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        silence: float | None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of an answer as they come. Raises Temporary when none comes for `silence` seconds.

        With None, only a lost connection ends it (`_TCP_OPTIONS`).
        """
        for attempt in (1, 2):
            login = await self._credentials.login()
            async with self._open("GET", path, login, params, headers, None, "", None, silence) as response:
                if response.status == 401 and attempt == 1 and await self._credentials.reject(login):
                    continue
                if response.status > 299:
                    body = await self._read_body(response)
                    raise self._error(
                        Response(code=response.status, body=body, headers=response.headers, warnings=())
                    )
                yield response.content.iter_any()
                return

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        login: Login,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        total: float | None,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        all_headers = CIMultiDict([*(headers or {}).items(), *login.headers])
        all_headers.setdefault("Accept", "application/json")
        data = None
        if body is not None:
            all_headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":")).encode()
        timeout = aiohttp.ClientTimeout(
            total=total, connect=None, sock_connect=self._settings.connect_timeout, sock_read=silence
        )
        answered, sent_at = False, self.clock.monotonic()
        try:
            with self._outage.attempt(self.name):
                await self._rate_limit.wait()
                sent_at = self.clock.monotonic()
                async with self._session.request(
                    method,
                    self.access.server + path,
                    params=params,
                    headers=all_headers,
                    data=data,
                    ssl=login.tls,
                    server_hostname=self.access.tls_server_name or None,
                    proxy=find_proxy(self.access),
                    timeout=timeout,
                    allow_redirects=False,
                ) as response:
                    self._outage.succeeded()
                    answered = True
                    REQUESTS.labels(self._host, method, str(response.status)).inc()
                    yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise ConfigError(
                f"{self.name}: the API server's certificate is not trusted: {error.certificate_error}",
                remedy=f"correct the certificate authority or the address in {self.access.origin}",
            ) from error
        except aiohttp.InvalidURL as error:
            raise ConfigError(
                f"{self.name} is not a valid address", remedy=f"correct {self.access.origin}"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = _describe(error)
            if answered:
                raise Temporary(f"the connection to the API server {self.name} was lost: {reason}") from error
            self._outage.failed(reason, sent_at=sent_at)
            REQUESTS.labels(self._host, method, "<error>").inc()
            raise Temporary(f"the API server {self.name} cannot be reached: {reason}") from error

    def _error(self, response: Response) -> PipecdError:
        status = read_status(response.code, response.body, response.headers.get("Retry-After"))
        error = error_of(status, self.name, self.access.origin)
        if response.code == 429 and isinstance(error, Temporary):
            self._rate_limit.pause(error.after or 0.0)
        return error

    def _is_busy(self, response: Response) -> bool:
        """Whether the server refused the request unread, and asks to send it again soon."""
        status = read_status(response.code, response.body, response.headers.get("Retry-After"))
        return response.code == 429 and status.retry_after is not None and status.retry_after <= _SHORT_DELAY

    async def decode(self, response: Response) -> Any:
        """The JSON of an answer."""
        try:
            if len(response.body) > _DECODE_IN_THREAD:
                return await asyncio.to_thread(decode_json, response.body)
            return decode_json(response.body)
        except ValueError as error:
            raise Temporary(f"{self.name} did not answer with JSON: is it an API server?") from error

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.max_response_size
        body = await read_bounded(response.content.iter_any(), limit)
        if body is None:
            raise Temporary(f"an answer of {response.url.host} is larger than {limit >> 20} MiB")
        return body


@asynccontextmanager
async def open_client(
    access: Access,
    *,
    clock: Clock = SYSTEM_CLOCK,
    per_second: float = 50.0,
    burst: int = 100,
    load: Callable[[], Access] | None = None,
    settings: ClientSettings = ClientSettings(),
) -> AsyncIterator[ApiClient]:
    """A client of the cluster, with its connections. `load` reads `access` again when its files change."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0, socket_factory=_open_socket)
    async with aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": f"pipecd/{__version__}"},
        # Cookies would be kept between requests of different users.
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        credentials = Credentials(access, clock, load, settings=settings)
        rate_limit = RateLimit(clock, per_second=per_second, burst=burst)
        yield ApiClient(credentials, session, clock, settings, rate_limit=rate_limit)


def _open_socket(address: AddrInfoType) -> socket.socket:
    """A socket that finds out by itself that the other side is gone, also while it waits for events."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS.items():
        # Not every system has all of them.
        if option := getattr(socket, name, None):
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
    return opened


def accept_metadata(kind: str) -> str:
    """The Accept header for answers without specs and statuses."""
    return f"application/json;{_METADATA.format(kind)},application/json"


def _warnings(headers: Sequence[str]) -> Sequence[str]:
    texts = [text for header in headers for text in _WARNING.findall(header)]
    return [re.sub(r"\\(.)", r"\1", text) for text in dict.fromkeys(texts)][:_MAX_WARNINGS]


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return str(error) or type(error).__name__

"""Client of the Cloud Run Admin API v1: one call per method, objects as the API sends them.

Version 1 is used because the manifests in Git are its objects. The stages make the decisions.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pipecd import tracing
from pipecd.bounded_body import read_bounded
from pipecd.bounded_dict import BoundedDict
from pipecd.certificates import tls_context
from pipecd.config.piped import decode_base64
from pipecd.errors import NotFound, Refused, Temporary
from pipecd.google_credentials import GoogleCredentials
from pipecd.json_input import decode_json
from pipecd.platforms.cloudrun.config import CloudRunProvider
from pipecd.platforms.cloudrun.google_errors import error_of
from pipecd.platforms.connections import shared_connection

if TYPE_CHECKING:
    import httpx

SERVING, RUN = "serving.knative.dev/v1", "run.googleapis.com/v1"
SERVICE_LABEL, JOB_LABEL = "serving.knative.dev/service", "run.googleapis.com/job"
#: Of a request (seconds), of an answer (bytes), of a page of a list (objects).
_TIMEOUT, _MAX_ANSWER, _PAGE_SIZE = 60.0, 16 * 1024 * 1024, 100
#: Objects of a list. Cloud Run has at most some thousand in a region.
MAX_LISTED = 50_000
#: Files with credentials are rotated.
_MAX_AGE = 600.0
#: How long an observation may use what another one has read (seconds): all objects of an agent, and the
#: revisions of a service that did not change.
_LISTED_FOR, _UNCHANGED_FOR = 4.0, 60.0
_AGENTS_OBJECTS = "pipecd-dev-managed-by=piped"
_MAX_UNCHANGED = 1000

Object = Mapping[str, Any]
Plural = Literal["services", "revisions", "jobs", "executions"]
_API: Mapping[Plural, str] = {"services": SERVING, "revisions": SERVING, "jobs": RUN, "executions": RUN}


@asynccontextmanager
async def connect(provider: CloudRunProvider) -> AsyncIterator["CloudRunClient"]:
    """A client, shared with all other users of the same provider."""
    async with shared_connection(
        ("cloudrun", provider.model_dump_json()),
        partial(open_client, provider),
        max_age=_MAX_AGE,
        survives_errors=True,
    ) as client:
        yield client


@asynccontextmanager
async def open_client(
    provider: CloudRunProvider, *, max_listed: int = MAX_LISTED
) -> AsyncIterator["CloudRunClient"]:
    """A client of its own."""
    import httpx

    data = provider.credentials_data
    credentials = GoogleCredentials(
        "Cloud Run cannot be used",
        provider.credentials_file,
        decode_base64(data, "credentialsData") if data else "",
    )
    async with httpx.AsyncClient(timeout=_TIMEOUT, verify=await tls_context()) as http:
        yield CloudRunClient(http, provider, credentials, max_listed=max_listed)


class CloudRunClient:
    """Raises Refused with Google's message and a remedy, Conflict for an outdated resourceVersion."""

    def __init__(
        self,
        http: "httpx.AsyncClient",
        provider: CloudRunProvider,
        credentials: GoogleCredentials,
        *,
        max_listed: int,
    ) -> None:
        self._max_listed = max_listed
        self._http, self._provider, self._credentials = http, provider, credentials
        self._listed: dict[Plural, tuple[float, Mapping[str, Object]]] = {}
        self._locks: defaultdict[Plural, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Selector → until when, version of the owner, objects.
        self._unchanged = BoundedDict[str, tuple[float, str, Sequence[Object]]](_MAX_UNCHANGED)

    @property
    def project(self) -> str:
        return self._provider.project

    async def find(self, plural: Plural, name: str) -> Object | None:
        try:
            return await self._call("GET", self._path(plural, name), f"{_singular(plural)} {name}")
        except NotFound:
            return None

    async def find_current(self, plural: Plural, name: str) -> Object | None:
        """As `find`, for observations: one list serves all applications of an agent for a few seconds."""
        async with self._locks[plural]:
            until, listed = self._listed.get(plural, (0.0, {}))
            now = asyncio.get_running_loop().time()
            if now >= until:
                found = await self.list(plural, _AGENTS_OBJECTS)
                listed = {str(item["metadata"]["name"]): item for item in found}
                self._listed[plural] = (now + _LISTED_FOR, listed)
        # Objects that no agent has deployed yet are not listed.
        return listed.get(name) or await self.find(plural, name)

    async def list_unchanged(self, plural: Plural, selector: str, owner: Object) -> Sequence[Object]:
        """As `list`, but read again only if `owner` changed, or after a minute."""
        version = f"{owner['metadata'].get('uid')}/{owner['metadata'].get('resourceVersion')}"
        now = asyncio.get_running_loop().time()
        until, known, found = self._unchanged.get(selector, (0.0, "", ()))
        if now < until and known == version:
            return found
        found = await self.list(plural, selector)
        self._unchanged[selector] = (now + _UNCHANGED_FOR, version, found)
        return found

    async def create(self, plural: Plural, body: Object, *, dry_run: bool = False) -> Object:
        what = f"{_singular(plural)} {body['metadata']['name']}"
        return await self._call("POST", self._path(plural), what, body=body, query=_dry(dry_run))

    async def replace(self, plural: Plural, body: Object, *, dry_run: bool = False) -> Object:
        """Raises Conflict if the object changed since `metadata.resourceVersion` of the body."""
        name = body["metadata"]["name"]
        what = f"{_singular(plural)} {name}"
        return await self._call("PUT", self._path(plural, name), what, body=body, query=_dry(dry_run))

    async def list(self, plural: Plural, selector: str, *, limit: int = 0) -> Sequence[Object]:
        """The newest first. `limit` 0: all of them. Raises Refused if there are too many."""
        found: list[Object] = []
        query = {"labelSelector": selector, "limit": str(limit or _PAGE_SIZE)}
        # A page may be empty, but not all of them.
        for _ in range(self._max_listed):
            page = await self._call("GET", self._path(plural), f"the list of {plural}", query=query)
            found += page.get("items") or ()
            following = (page.get("metadata") or {}).get("continue")
            if not following or (limit and len(found) >= limit):
                return sorted(found, key=_created, reverse=True)[: limit or None]
            if len(found) > self._max_listed:
                break
            query["continue"] = str(following)
        raise Refused(f"Cloud Run lists more than {self._max_listed} {plural} for {selector}")

    async def delete_revision(self, name: str) -> None:
        await self._call("DELETE", self._path("revisions", name), f"revision {name}")

    async def cancel_execution(self, name: str) -> None:
        """Raises NotFound, and Refused for an execution that has ended."""
        path = f"{self._path('executions', name)}:cancel"
        await self._call("POST", path, f"the execution {name}", body={})

    def _path(self, plural: Plural, name: str = "") -> str:
        path = f"/apis/{_API[plural]}/namespaces/{self._provider.project}/{plural}"
        return f"{path}/{name}" if name else path

    async def _call(
        self, method: str, path: str, what: str, *, body: Object | None = None, query: Mapping[str, str] = {}
    ) -> Object:
        import httpx

        headers = await asyncio.to_thread(self._credentials.headers)
        url = self._provider.address + path
        try:
            with tracing.child(f"cloudrun {method}", attributes={"url.path": path}) as span:
                async with self._http.stream(
                    method, url, headers=headers, params=dict(query), json=body
                ) as response:
                    content = await read_bounded(response.aiter_bytes(), _MAX_ANSWER)
                if span:
                    span.set_attribute("http.response.status_code", response.status_code)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Temporary(f"Cloud Run cannot be reached: {type(error).__name__}") from error
        if content is None:
            raise Refused(f"the answer about {what} has more than {_MAX_ANSWER >> 20} MiB")
        if response.status_code != 200:
            raise error_of(response.status_code, content, response.headers.get("Retry-After"), what)
        try:
            answer = decode_json(content)
        except ValueError:
            answer = None
        if not isinstance(answer, Mapping):
            raise Temporary(f"the answer about {what} is not from the Cloud Run API; check the endpoint")
        return answer


def _singular(plural: Plural) -> str:
    return f"the {plural.removesuffix('s')}"


def _dry(dry_run: bool) -> Mapping[str, str]:
    return {"dryRun": "all"} if dry_run else {}


def _created(found: Object) -> str:
    return str((found.get("metadata") or {}).get("creationTimestamp", ""))

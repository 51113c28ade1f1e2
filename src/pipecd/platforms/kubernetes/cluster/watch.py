"""Follows the objects of one kind. Reconnects by itself, and lists again when it must.

The server sends all existing objects first, as a stream (Kubernetes 1.32), or they are listed in pages. After
`Synced`, every object that was not sent since `Listing` is gone: the caller removes it.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import structlog

from pipecd.errors import Temporary
from pipecd.json_input import decode_json
from pipecd.platforms.kubernetes.cluster.api import ApiClient, Object, accept_metadata
from pipecd.platforms.kubernetes.cluster.errors import Expired, Rejected, error_of, status_of
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.retry import Backoff, Retry

log = structlog.get_logger()

#: Of one event, in bytes. etcd stores objects up to 1.5 MB.
MAX_EVENT_SIZE = 16 * 1024 * 1024
#: The server ends a watch after a time in this range, which is renewed without listing again (seconds).
_WATCH_SECONDS = (300, 600)
#: A server that sends nothing for this long is gone, because it sends a bookmark every minute (seconds).
_SILENCE = 180.0
#: The first failure is retried at once, nearly; a server that is away is asked every half minute.
_RETRY = Retry(base=1.0, cap=30.0, tries=None)


@dataclass(frozen=True)
class Listing:
    """All existing objects follow."""


@dataclass(frozen=True)
class Synced:
    """All existing objects were sent; changes follow."""


@dataclass(frozen=True)
class Seen:
    """The object exists, as it is now."""

    object: Object


@dataclass(frozen=True)
class Deleted:
    """The object is gone. This is its last state."""

    object: Object


@dataclass(frozen=True)
class Interrupted:
    """The server cannot be reached; objects may change unseen until `Resumed` or `Synced`."""

    error: Temporary


@dataclass(frozen=True)
class Resumed:
    """The watch continues where it was interrupted; the changes since then follow."""


Event = Listing | Synced | Seen | Deleted | Interrupted | Resumed


async def watch(
    client: ApiClient,
    resource: ResourceType,
    namespace: str = "",
    *,
    label_selector: str = "",
    metadata_only: bool = False,
) -> AsyncGenerator[Event, None]:
    """Runs until it is closed. Raises errors that would occur again, such as a missing permission.

    An outage of the server is not an error: the watch continues afterwards.
    """
    follower = _Follower(client, resource, namespace, label_selector, metadata_only)
    backoff = Backoff(_RETRY)
    while True:
        try:
            async with aclosing(follower.connect()) as events:
                async for event in events:
                    backoff.reset()
                    yield event
        except Expired:
            # Many watches may expire together.
            follower.forget()
            await client.clock.sleep(random.uniform(0.0, 1.0))
        except Temporary as error:
            delay = max(backoff.next_delay(), error.after or 0.0)
            log.info("watch_interrupted", cluster=client.name, kind=resource.kind, error=str(error))
            follower.interrupted = True
            yield Interrupted(error)
            await client.clock.sleep(delay)


class _Follower:
    """What is known between two connections of a watch."""

    def __init__(
        self,
        client: ApiClient,
        resource: ResourceType,
        namespace: str,
        label_selector: str,
        metadata_only: bool,
    ) -> None:
        self._client, self._resource, self._namespace = client, resource, namespace
        self._label_selector, self._metadata_only = label_selector, metadata_only
        #: Where to continue from; empty before all existing objects were sent.
        self._resource_version = ""
        self._can_stream_list = True
        self.interrupted = False

    def forget(self) -> None:
        self._resource_version = ""

    async def connect(self) -> AsyncGenerator[Event, None]:
        """The events of one connection, until the server ends it."""
        if self._resource_version:
            async with aclosing(self._follow({"resourceVersion": self._resource_version})) as events:
                async for event in events:
                    yield event
            return
        yield Listing()
        if self._can_stream_list:
            try:
                initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
                async with aclosing(self._follow(initial)) as events:
                    async for event in events:
                        yield event
                return
            except Rejected as error:
                if error.status.code not in (400, 422):
                    raise
                # An older server has no initial events.
                self._can_stream_list = False
        async with aclosing(self._list()) as events:
            async for event in events:
                yield event

    async def _list(self) -> AsyncGenerator[Event, None]:
        version = ""
        pages = self._client.list_pages(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            metadata_only=self._metadata_only,
        )
        async with aclosing(pages) as opened:
            async for list_version, items in opened:
                version = list_version
                for item in items:
                    yield Seen(item)
        self._resource_version = version
        yield Synced()

    async def _follow(self, start: Mapping[str, str]) -> AsyncGenerator[Event, None]:
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),
            **start,
        }
        if self._label_selector:
            params["labelSelector"] = self._label_selector
        headers = {"Accept": accept_metadata("PartialObjectMetadata")} if self._metadata_only else None
        path = self._resource.path(self._namespace)
        async with (
            self._client.stream(path, params=params, headers=headers, silence=_SILENCE) as chunks,
            aclosing(_lines(chunks)) as lines,
        ):
            if self.interrupted and self._resource_version:
                yield Resumed()
            self.interrupted = False
            async for line in lines:
                event = self._read(line)
                if event is not None:
                    yield event

    def _read(self, line: bytes) -> Event | None:
        try:
            data: Any = decode_json(line)
            kind, item = data["type"], data["object"]
        except (ValueError, KeyError, TypeError) as error:
            raise Temporary(f"{self._client.name} sent an event that is not JSON") from error
        if kind == "ERROR":
            raise error_of(status_of(item), self._client.name)
        metadata = item.get("metadata") or {}
        complete = bool(self._resource_version)
        if kind == "BOOKMARK":
            ends_list = (metadata.get("annotations") or {}).get("k8s.io/initial-events-end") == "true"
            if complete or ends_list:
                self._resource_version = str(metadata["resourceVersion"])
            return None if complete or not ends_list else Synced()
        if complete:
            self._resource_version = str(metadata["resourceVersion"])
        if self._metadata_only:
            item = {**item, "apiVersion": self._resource.api_version, "kind": self._resource.kind}
        return Deleted(item) if kind == "DELETED" else Seen(item)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The complete lines of a stream. Lets other tasks run in between."""
    pending = bytearray()
    async for chunk in chunks:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            complete = bytes(pending + line)
            pending.clear()
            if complete.strip():
                yield complete
        await asyncio.sleep(0)
        pending += rest
        if len(pending) > MAX_EVENT_SIZE:
            raise Temporary(f"an event is larger than {MAX_EVENT_SIZE >> 20} MiB")

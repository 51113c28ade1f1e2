"""Which kinds a cluster has, and under which paths.

Uses aggregated discovery, two requests, where the server has it (Kubernetes 1.26), and one request per group
version otherwise. A group whose own API server is down is left out; the others can be used.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import structlog

from pipecd.errors import PipecdError, Temporary, UserError
from pipecd.platforms.kubernetes.cluster.api import ApiClient
from pipecd.platforms.kubernetes.cluster.types import ResourceType, split_api_version

log = structlog.get_logger()

#: Kinds may appear and disappear at any time; a missing one is looked for sooner (seconds).
MAX_AGE = 600.0
#: A kind that is missing is looked for again at most this often (seconds).
MIN_AGE = 1.0
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
#: Requests of one group version each at the same time.
_CONCURRENT = 8


class UnknownKind(UserError):
    """The cluster has no such kind, or not in this version. It may appear later, with its definition."""


@dataclass(frozen=True, kw_only=True)
class _Root:
    """What `/api` or `/apis` answered."""

    etag: str = ""
    types: Sequence[ResourceType] = ()
    #: Group versions that the server lists and that could not be read.
    broken: Set[str] = frozenset()


@dataclass
class Discovery:
    """The kinds of one cluster, read again when they are old or when one is missing.

    `aggregated` false asks for the older protocol.
    """

    client: ApiClient
    aggregated: bool = True
    _roots: dict[str, _Root] = field(default_factory=dict)
    _by_kind: Mapping[tuple[str, str], ResourceType] = field(default_factory=dict)
    _read_at: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, api_version: str, kind: str) -> ResourceType:
        """Raises UnknownKind, or Temporary if the API server of its group is down."""
        await self.refresh(max_age=MAX_AGE)
        if (api_version, kind) not in self._by_kind:
            await self.refresh(max_age=MIN_AGE)
        found = self._by_kind.get((api_version, kind))
        if found is None and api_version in self.broken:
            raise Temporary(
                f"{kind} of {api_version} cannot be used: the API server of {api_version} does not answer;"
                f" check the APIService of {api_version}"
            )
        if found is None:
            raise self._unknown(api_version, kind)
        return found

    async def types(self) -> Sequence[ResourceType]:
        """All kinds in all versions."""
        await self.refresh(max_age=MAX_AGE)
        return list(self._by_kind.values())

    @property
    def broken(self) -> Set[str]:
        """Group versions whose API server is down."""
        return frozenset().union(*(root.broken for root in self._roots.values()))

    async def is_broken(self, api_version: str) -> bool:
        """Whether the API server of a group version is down now, while others may work."""
        await self.refresh(max_age=MIN_AGE)
        return api_version in self.broken

    async def refresh(self, *, max_age: float = 0.0) -> None:
        """Read the kinds, unless they were read less than `max_age` seconds ago."""
        async with self._lock:
            now = self.client.clock.monotonic()
            if self._read_at is not None and now - self._read_at < max_age:
                return
            paths = ("/api", "/apis")
            roots = await asyncio.gather(*(self._read(path) for path in paths))
            self._roots = dict(zip(paths, roots, strict=True))
            self._by_kind = {(found.api_version, found.kind): found for root in roots for found in root.types}
            self._read_at = now

    async def _read(self, path: str) -> _Root:
        known = self._roots.get(path, _Root())
        headers = {"Accept": _AGGREGATED if self.aggregated else "application/json"}
        if known.etag:
            headers["If-None-Match"] = known.etag
        response = await self.client.send("GET", path, headers=headers, accepted=(304,))
        if response.code == 304:
            return known
        answer = await self.client.decode(response)
        if answer.get("kind") == "APIGroupDiscoveryList":
            return _aggregated(answer, response.headers.get("Etag", ""))
        group_versions = answer.get("versions") or [
            version["groupVersion"] for group in answer.get("groups") or () for version in group["versions"]
        ]
        return await self._read_each(path, group_versions)

    async def _read_each(self, path: str, group_versions: Sequence[str]) -> _Root:
        semaphore = asyncio.Semaphore(_CONCURRENT)

        async def read(api_version: str) -> Sequence[ResourceType] | None:
            async with semaphore:
                try:
                    answer = await self.client.get_json(f"{path}/{api_version}")
                except PipecdError as error:
                    log.warning("api_version_not_discovered", api_version=api_version, error=str(error))
                    return None
            resources = answer.get("resources") or ()
            names = {item["name"] for item in resources}
            return [
                _legacy(api_version, item, has_status=f"{item['name']}/status" in names)
                for item in resources
                if "/" not in item["name"]
            ]

        answers = await asyncio.gather(*map(read, group_versions))
        return _Root(
            types=[found for types in answers for found in types or ()],
            broken={name for name, types in zip(group_versions, answers, strict=True) if types is None},
        )

    def _unknown(self, api_version: str, kind: str) -> UnknownKind:
        versions = [version for version, other in self._by_kind if other == kind]
        if versions:
            return UnknownKind(
                f"the cluster has no {kind} in {api_version}", remedy=f"it has: {', '.join(versions)}"
            )
        return UnknownKind(
            f"the cluster has no kind {kind} in {api_version}",
            remedy="install its CustomResourceDefinition, or correct apiVersion and kind",
        )


def _aggregated(answer: Mapping[str, Any], etag: str) -> _Root:
    types, broken = [], set()
    for item in answer.get("items") or ():
        group = str(item["metadata"].get("name") or "")
        for version in item.get("versions") or ():
            name = str(version["version"])
            if version.get("freshness") == "Stale":
                broken.add(f"{group}/{name}")
            types += [_resource_type(group, name, resource) for resource in version.get("resources") or ()]
    # An answer without all groups must not be kept by its tag.
    return _Root(etag="" if broken else etag, types=types, broken=broken)


def _resource_type(group: str, version: str, item: Mapping[str, Any]) -> ResourceType:
    return ResourceType(
        group=group,
        version=version,
        kind=str(item["responseKind"]["kind"]),
        plural=str(item["resource"]),
        namespaced=item.get("scope") == "Namespaced",
        verbs=frozenset(item.get("verbs") or ()),
        has_status=any(found.get("subresource") == "status" for found in item.get("subresources") or ()),
    )


def _legacy(api_version: str, item: Mapping[str, Any], *, has_status: bool) -> ResourceType:
    group, version = split_api_version(api_version)
    return ResourceType(
        group=group,
        version=version,
        kind=str(item["kind"]),
        plural=str(item["name"]),
        namespaced=bool(item.get("namespaced")),
        verbs=frozenset(item.get("verbs") or ()),
        has_status=has_status,
    )


def preferred(types: Sequence[ResourceType]) -> Iterator[ResourceType]:
    """One version of each kind: the first, which is the one that the server prefers."""
    seen = set()
    for found in types:
        if (found.group, found.kind) not in seen:
            seen.add((found.group, found.kind))
            yield found

"""A cluster in memory, for tests that need thousands of calls: objects, their pods, and no API server.

It has what the stages of a pipeline ask for. Pods of a Deployment become ready after some reads of it, unless
its image begins with `web:nopull`; then those of the version before keep serving. `check` is called after
every change.
"""

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pipecd.errors import AlreadyExists, NotFound
from pipecd.platforms.kubernetes.cluster.api import Answer
from pipecd.platforms.kubernetes.cluster.types import ResourceType, split_api_version
from pipecd.platforms.kubernetes.health.rules import HealthRules

_KINDS = {
    "v1": ("Namespace", "Pod", "Service", "ConfigMap", "Secret"),
    "apps/v1": ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"),
    "discovery.k8s.io/v1": ("EndpointSlice",),
    "networking.istio.io/v1": ("VirtualService", "DestinationRule"),
    "gateway.networking.k8s.io/v1": ("HTTPRoute", "GRPCRoute"),
    "split.smi-spec.io/v1alpha2": ("TrafficSplit",),
}
_VERBS = frozenset({"get", "list", "create", "patch", "delete"})
#: How often a Deployment is read until its pods are ready.
_READS = 2
_LATER = "2099-01-01T00:00:00Z"
Key = tuple[str, str, str]


class Kinds:
    broken: Sequence[str] = ()

    def __init__(self) -> None:
        self._types = {
            (api_version, kind): ResourceType(
                group=split_api_version(api_version)[0],
                version=split_api_version(api_version)[1],
                kind=kind,
                plural=f"{kind.lower()}s",
                namespaced=kind != "Namespace",
                verbs=_VERBS,
            )
            for api_version, kinds in _KINDS.items()
            for kind in kinds
        }

    async def find(self, api_version: str, kind: str) -> ResourceType:
        return self._types[api_version, kind]

    async def types(self) -> Sequence[ResourceType]:
        return list(self._types.values())


class MemoryCluster:
    """Both the connection to a cluster and its API."""

    def __init__(self) -> None:
        self.kinds, self.health, self.api = Kinds(), HealthRules(), self
        self.objects: dict[Key, dict[str, Any]] = {}
        self.check: Callable[[], None] = lambda: None
        #: Of Deployments: reads until the new pods are ready, and the labels of those that serve.
        self._pending: dict[str, int] = {}
        self._serving: dict[str, Mapping[str, str]] = {}
        self._uids = 0

    @asynccontextmanager
    async def connect(self, provider: Any) -> AsyncIterator["MemoryCluster"]:
        yield self

    def ready_pods(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"name": name, "labels": dict(found)},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
            for name, found in self._serving.items()
            if labels.items() <= found.items()
        ]

    async def get(self, resource: ResourceType, namespace: str, name: str, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        if resource.kind == "Deployment":
            self._progress(name)
        try:
            return copy.deepcopy(self.objects[resource.kind, namespace, name])
        except KeyError:
            raise NotFound(name) from None

    async def list(
        self, resource: ResourceType, namespace: str = "", *, label_selector: str = "", **_: Any
    ) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        wanted = dict(part.split("=", 1) for part in label_selector.split(",") if part)
        if resource.kind == "Pod":
            return self.ready_pods(wanted)
        if resource.kind == "EndpointSlice":
            service = self.objects.get(("Service", namespace, wanted["kubernetes.io/service-name"]))
            pods = self.ready_pods(service["spec"]["selector"]) if service else []
            return [{"endpoints": [{"conditions": {"ready": True}} for _ in pods]}]
        return [
            copy.deepcopy(body)
            for (kind, found, _), body in self.objects.items()
            if kind == resource.kind
            and namespace in ("", found)
            and wanted.items() <= (body["metadata"].get("labels") or {}).items()
        ]

    async def list_pages(self, *arguments: Any, **options: Any) -> AsyncGenerator[tuple[str, Any], None]:
        yield "", await self.list(*arguments, **options)

    async def apply(
        self, resource: ResourceType, namespace: str, name: str, body: Mapping[str, Any], **_: Any
    ) -> Answer:
        # Killed before the request has an effect, or after it.
        await asyncio.sleep(0)
        self._store(resource, namespace, name, body)
        await asyncio.sleep(0)
        return Answer(object=copy.deepcopy(self.objects[resource.kind, namespace, name]), warnings=[])

    async def create(self, resource: ResourceType, namespace: str, body: Any, **options: Any) -> Answer:
        name = body["metadata"]["name"]
        if (resource.kind, namespace, name) in self.objects:
            raise AlreadyExists(name)
        return await self.apply(resource, namespace, name, body)

    async def delete(self, resource: ResourceType, namespace: str, name: str, *, uid: str, **_: Any) -> None:
        await asyncio.sleep(0)
        if self.objects.pop((resource.kind, namespace, name), None) is None:
            raise NotFound(name)
        if resource.kind == "Deployment":
            self._serving.pop(name, None)
        self.check()
        await asyncio.sleep(0)

    def _store(self, resource: ResourceType, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        before = self.objects.get((resource.kind, namespace, name))
        metadata = {**body["metadata"], "namespace": namespace, "resourceVersion": "1"}
        metadata["managedFields"] = [
            {"manager": "pipecd", "operation": "Apply", "apiVersion": resource.api_version}
        ]
        self._uids += 1
        metadata["uid"] = before["metadata"]["uid"] if before else str(self._uids)
        changed = before is None or before.get("spec") != body.get("spec")
        metadata["generation"] = (before["metadata"]["generation"] if before else 0) + changed
        live = {**copy.deepcopy(dict(body)), "metadata": metadata}
        if before and "status" in before:
            live["status"] = before["status"]
        self.objects[resource.kind, namespace, name] = live
        if resource.kind == "Deployment" and changed:
            self._pending[name] = _READS
            self._write_status(live)
        if resource.kind in ("HTTPRoute", "GRPCRoute"):
            conditions = [
                {"type": kind, "status": "True", "observedGeneration": metadata["generation"]}
                for kind in ("Accepted", "ResolvedRefs")
            ]
            live["status"] = {"parents": [{"parentRef": {"name": "gw"}, "conditions": conditions}]}
        self.check()

    def _progress(self, name: str) -> None:
        live = next((body for key, body in self.objects.items() if key[::2] == ("Deployment", name)), None)
        if live is None or not self._pending.get(name):
            return
        self._pending[name] -= 1
        if not self._pending[name] and not self._is_broken(live):
            self._serving[name] = live["spec"]["template"]["metadata"]["labels"]
        self._write_status(live)

    def _write_status(self, live: dict[str, Any]) -> None:
        name, count = live["metadata"]["name"], live["spec"].get("replicas", 1)
        ended = not self._pending[name]
        updated, available = count if ended and not self._is_broken(live) else 0, name in self._serving
        reason = "ProgressDeadlineExceeded" if ended and self._is_broken(live) else "NewReplicaSetAvailable"
        conditions = [
            {"type": "Available", "status": str(available)},
            {"type": "Progressing", "status": str(not reason.startswith("P")), "reason": reason},
        ]
        ready = count if available else 0
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": [{**condition, "lastUpdateTime": _LATER} for condition in conditions],
        }

    def _is_broken(self, live: Mapping[str, Any]) -> bool:
        image = live["spec"]["template"]["spec"]["containers"][0]["image"]
        return bool(image.startswith("web:nopull"))

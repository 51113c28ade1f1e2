"""Whether a variant can serve traffic: it has ready pods, behind the service that would get the traffic."""

from collections.abc import Mapping

from pipecd.errors import ConfigError, NotFound
from pipecd.platforms.kubernetes.apply import find_live, place
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.health.fields import conditions_of
from pipecd.platforms.kubernetes.health.pods import is_ready
from pipecd.platforms.kubernetes.health.states import Ready
from pipecd.platforms.kubernetes.stages.job import Job
from pipecd.platforms.kubernetes.traffic import Routing, istio
from pipecd.platforms.kubernetes.variants import PRIMARY, is_service, select_workloads

_SERVICE_NAME = "kubernetes.io/service-name"


async def why_not_serving(job: Job, routing: Routing, variant: str) -> str:
    """Why no ready pod would get the traffic of the variant; empty if one would."""
    if routing.spec.traffic_routing.method in ("gateway", "smi"):
        name = routing.service_of(variant)
        ready = await _has_ready_endpoint(job, routing.namespace, name)
        return "" if ready else f"the service {name} has no ready endpoint"
    selector = await _pod_selector(job, routing, variant)
    if await _has_ready_pod(job, routing.namespace, selector):
        return ""
    labels = ", ".join(f"{key}: {value}" for key, value in selector.items())
    return f"no pod with the labels {labels} is ready"


async def why_primary_cannot_carry(job: Job, routing: Routing) -> str:
    """Why the primary variant cannot take over all traffic; empty if it can.

    A Deployment can if it is available, which it also is during a rolling update.
    """
    if reason := await why_not_serving(job, routing, PRIMARY):
        return reason
    for manifest in select_workloads(job.declared, job.spec.workloads):
        placed = await place(job.cluster, manifest, job.namespace)
        live = await find_live(job.cluster, placed)
        if live is None:
            return f"{placed} does not exist"
        if not _is_available(job, live):
            return f"{placed} is not available"
    return ""


def _is_available(job: Job, live: Object) -> bool:
    if live["kind"] == "Deployment":
        return conditions_of(live.get("status"))["Available"].status == "True"
    health = job.cluster.health
    return not health.is_waited_for(live["apiVersion"], live["kind"]) or isinstance(
        health.state_of(live), Ready
    )


async def _pod_selector(job: Job, routing: Routing, variant: str) -> Mapping[str, str]:
    """The labels of the pods that would get the traffic."""
    service = await _live_service(job, routing)
    selector = dict((service.get("spec") or {}).get("selector") or {})
    key, value = routing.variants[variant].label
    if routing.spec.traffic_routing.method == "istio":
        subsets = await find_subsets(job, routing)
        return {**selector, **subsets.get(value, {key: value})}
    return {**selector, key: value}


async def _live_service(job: Job, routing: Routing) -> Object:
    """The application's service: that of the host, in the cluster, or else in Git."""
    services = await job.cluster.kinds.find("v1", "Service")
    name, namespace = routing.service, routing.namespace
    if routing.spec.traffic_routing.method == "istio":
        name, _, namespace = istio.qualified(istio.host_of(routing), namespace).partition(".")
    try:
        return await job.cluster.api.get(services, namespace, name)
    except NotFound:
        found = next(
            (found for found in job.declared if is_service(found) and found.name == name),
            None,
        )
    if found is None:
        raise ConfigError(
            f"the service {name} of the traffic routing exists neither in Git nor in the cluster",
            remedy="correct spec.service.name or spec.trafficRouting",
        )
    return dict(found.body)


async def find_subsets(job: Job, routing: Routing) -> Mapping[str, Mapping[str, str]]:
    """The subsets of the host with their labels, of the DestinationRules in Git or else in the cluster."""
    namespace = job.namespace
    in_git = [
        {
            **manifest.body,
            "metadata": {**manifest.body["metadata"], "namespace": manifest.namespace or namespace},
        }
        for manifest in job.declared
        if (manifest.group, manifest.kind) == (istio.GROUP, "DestinationRule")
    ]
    if subsets := istio.subsets(routing, in_git):
        return subsets
    try:
        kind = await job.cluster.kinds.find(routing.manifest.api_version, "DestinationRule")
    except UnknownKind:
        return {}
    return istio.subsets(routing, await job.cluster.api.list(kind, routing.namespace))


async def _has_ready_endpoint(job: Job, namespace: str, service: str) -> bool:
    kind = await job.cluster.kinds.find("discovery.k8s.io/v1", "EndpointSlice")
    slices = await job.cluster.api.list(kind, namespace, label_selector=f"{_SERVICE_NAME}={service}")
    # A condition that is not set counts as ready, as the API documents it.
    return any(
        (endpoint.get("conditions") or {}).get("ready", True)
        for item in slices
        for endpoint in item.get("endpoints") or ()
    )


async def _has_ready_pod(job: Job, namespace: str, labels: Mapping[str, str]) -> bool:
    kind = await job.cluster.kinds.find("v1", "Pod")
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pages = job.cluster.api.list_pages(kind, namespace, label_selector=selector)
    async for _, pods in pages:
        if any(is_ready(pod) for pod in pods):
            await pages.aclose()
            return True
    return False

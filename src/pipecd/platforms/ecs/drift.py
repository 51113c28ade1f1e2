"""Drift of an ECS application: compares the service and its serving task definition with Git.

Called by the agent's drift loop. The keys in `driftDetection.ignoreFields` are `ecs:Service:<cluster>:<name>`
and `ecs:TaskDefinition::<family>`. A standalone task is not compared.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from pipecd.model.drift import NO_DRIFT, Drift, Pair, compare
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.ecs.autoscaling import autoscaling_enabled
from pipecd.platforms.ecs.client import EcsClient, Service, connect
from pipecd.platforms.ecs.source import ServiceDefinition

#: Fields that no response contains, or that deployments change rather than the service's file.
_NOT_COMPARED = {
    "cluster",
    "clientToken",
    "loadBalancers",
    "role",
    "tags",
    "taskDefinition",
    "serviceRegistries",
}
#: Fields that belong to the task set, if there is one, not to the service.
_TASK_SET_FIELDS = ("launchType", "networkConfiguration", "platformVersion")
#: Lists whose order means nothing to AWS.
_UNORDERED = {"subnets", "securityGroups", "requiresCompatibilities", "dependsOn"}


async def detect_drift(request: ObservationRequest) -> Drift:
    desired = request.desired.service
    if desired is None:
        return NO_DRIFT
    cluster = desired.cluster.rsplit("/", 1)[-1]
    service_key = f"ecs:Service:{cluster}:{desired.name}"
    async with connect(request.provider) as client:
        live = await client.get_service(desired.cluster, desired.name)
        if live is None or live.status == "DRAINING":
            missing = Pair(key=service_key, running=None, git=desired.fields)
            return await asyncio.to_thread(compare, [missing], request.ignored, request.redact)
        sets = await client.describe_task_sets(desired.cluster, desired.name) if live.has_task_sets else []
        primary = next((task_set for task_set in sets if task_set["status"] == "PRIMARY"), {})
        skip_count = not desired.desired_count or await autoscaling_enabled(
            request.provider, desired.cluster, desired.name
        )
        definition = await _definition(client, live, primary)
    pairs = [
        Pair(
            key=service_key,
            running=_normalize(_running(live, primary)),
            git=_normalize(_declared(desired, skip={"desiredCount"} if skip_count else set())),
        ),
        Pair(
            key=f"ecs:TaskDefinition::{request.desired.task.family}",
            running=_normalize(definition) if definition is not None else None,
            git=_normalize(request.desired.task.fields),
        ),
    ]
    return await asyncio.to_thread(compare, pairs, request.ignored, request.redact)


async def _definition(
    client: EcsClient, live: Service, primary: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    revision = primary.get("taskDefinition") or live.task_definition
    return await client.get_task_definition(str(revision)) if revision else None


def _running(live: Service, primary: Mapping[str, Any]) -> Mapping[str, Any]:
    task_set_fields = {name: primary[name] for name in _TASK_SET_FIELDS if name in primary}
    return {"deploymentController": {"type": live.controller}, **live.fields, **task_set_fields}


def _declared(desired: ServiceDefinition, *, skip: set[str]) -> Mapping[str, Any]:
    fields = {name: value for name, value in desired.fields.items() if name not in _NOT_COMPARED | skip}
    if str(fields.get("platformVersion", "")).upper() == "LATEST":
        # AWS returns the version number instead.
        del fields["platformVersion"]
    return fields


def _normalize(tree: Any, name: str = "") -> Any:
    """Without fields that AWS chooses (the host port), and with unordered lists sorted."""
    if isinstance(tree, Mapping):
        items_by_key = {key: value for key, value in tree.items() if key != "hostPort"}
        return {key: _normalize(value, key) for key, value in items_by_key.items()}
    if isinstance(tree, list):
        items = [_normalize(item) for item in tree]
        return sorted(items, key=str) if name in _UNORDERED else items
    return tree

"""Drift of an ECS application: compares the service and its serving task definition with Git.

Called by the agent's drift loop. The keys in `driftDetection.ignoreFields` are `ecs:Service:<cluster>:<name>`
and `ecs:TaskDefinition::<family>`. A standalone task is not compared.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

from pipecd.model.drift import NO_DRIFT, Drift, Pair, compare
from pipecd.model.observation import ObservationRequest
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.autoscaling import autoscaling_enabled
from pipecd.platforms.ecs.client import EcsClient, Service, connect
from pipecd.platforms.ecs.source import DesiredState

#: Lists whose order means nothing to AWS.
_UNORDERED = {
    "alarmNames",
    "capacityProviderStrategy",
    "dependsOn",
    "placementConstraints",
    "requiresCompatibilities",
    "securityGroups",
    "subnets",
}


async def detect_drift(request: ObservationRequest) -> Drift:
    desired = request.desired.service if request.desired else None
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
    pairs = resource_pairs(request.desired, live, primary, definition, skip_count=skip_count)
    return await asyncio.to_thread(compare, pairs, request.ignored, request.redact)


def resource_pairs(
    desired: DesiredState,
    live: Service,
    primary: Mapping[str, Any],
    definition: Mapping[str, Any] | None,
    *,
    skip_count: bool,
) -> Sequence[Pair]:
    """The service and its task definition, live and in Git. `primary` is the primary task set, if any."""
    assert desired.service
    service = desired.service
    declared = members.comparable(service.fields, service.controller or live.controller)
    if skip_count:
        declared.pop("desiredCount", None)
    if str(declared.get("platformVersion", "")).upper() == "LATEST":
        # AWS returns the version number instead.
        del declared["platformVersion"]
    cluster = service.cluster.rsplit("/", 1)[-1]
    task = desired.task
    return [
        _pair(f"ecs:Service:{cluster}:{service.name}", _running(live, primary), declared),
        _pair(f"ecs:TaskDefinition::{task.family}", definition, task.fields),
    ]


def _pair(key: str, running: Mapping[str, Any] | None, git: Mapping[str, Any]) -> Pair:
    if running is None:
        return Pair(key=key, running=None, git=_normalize(git))
    live = _normalize(running)
    return Pair(key=key, running=live, git=_without_defaults(_normalize(git), live))


async def _definition(
    client: EcsClient, live: Service, primary: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    revision = primary.get("taskDefinition") or live.task_definition
    return await client.get_task_definition(str(revision)) if revision else None


def _running(live: Service, primary: Mapping[str, Any]) -> Mapping[str, Any]:
    names = members.task_set_members() if live.has_task_sets else ()
    task_set_fields = {name: primary[name] for name in names if name in primary}
    return {"deploymentController": {"type": live.controller}, **live.fields, **task_set_fields}


def _normalize(tree: Any, name: str = "") -> Any:
    """In one notation, without fields that AWS chooses (the host port), and with unordered lists sorted."""
    if isinstance(tree, Mapping):
        if name == "capacityProviderStrategy":
            tree = {"weight": 0, "base": 0, **tree}
        items_by_key = {key: value for key, value in tree.items() if key != "hostPort"}
        return {key: _normalize(value, key) for key, value in items_by_key.items()}
    if isinstance(tree, list):
        items = [_normalize(item, name) for item in tree]
        return sorted(items, key=repr) if name in _UNORDERED else items
    if isinstance(tree, str):
        return _NOTATIONS.get(name, str)(tree)
    return tree


def _units(text: str, unit: str) -> str:
    """`.25 vCPU` as `256`, `0.5 GB` as `512`."""
    number = text.strip().lower().removesuffix(unit.lower()).strip()
    if number == text.strip().lower():
        return text
    try:
        return f"{float(number) * 1024:g}"
    except ValueError:
        return text


def _role_name(text: str) -> str:
    """AWS accepts the name of a role, and returns its ARN."""
    return text.partition(":role/")[2] or text


#: Name of a text → how it is written in one notation.
_NOTATIONS: Mapping[str, Callable[[str], str]] = {
    "cpu": partial(_units, unit="vCPU"),
    "memory": partial(_units, unit="GB"),
    "taskRoleArn": _role_name,
    "executionRoleArn": _role_name,
}


def _without_defaults(git: Any, live: Any) -> Any:
    """Git's side without false and zero where the live side has nothing: AWS leaves out what is not set."""
    if isinstance(git, Mapping) and isinstance(live, Mapping):
        return {
            key: _without_defaults(value, live.get(key))
            for key, value in git.items()
            if key in live or isinstance(value, str) or value not in (False, 0)
        }
    if isinstance(git, list) and isinstance(live, list):
        by_name = {item["name"]: item for item in live if isinstance(item, Mapping) and "name" in item}
        named = len(by_name) == len(live)
        return [
            _without_defaults(item, by_name.get(item.get("name")) if named else other)
            if isinstance(item, Mapping)
            else item
            for item, other in zip_longest(git, live[: len(git)])
        ]
    return git

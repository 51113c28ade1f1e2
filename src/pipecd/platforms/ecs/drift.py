"""Whether an ECS service, and the task definition that it serves with, are what Git asks for.

Called by the agent's drift loop. In `driftDetection.ignoreFields` they are `ecs:Service:<cluster>:<name>` and
`ecs:TaskDefinition::<family>`. A standalone task is not compared.
"""

from collections.abc import Mapping
from typing import Any

from pipecd.model.drift import NONE, Drift, Pair, compare
from pipecd.model.look import Look
from pipecd.platforms.ecs.autoscaling import owns_the_count
from pipecd.platforms.ecs.client import Ecs, Service, connect
from pipecd.platforms.ecs.source import ServiceDefinition

#: Members of the file that no answer has, or that deployments and not the service's own state decide.
_NOT_COMPARED = {
    "cluster",
    "clientToken",
    "loadBalancers",
    "role",
    "tags",
    "taskDefinition",
    "serviceRegistries",
}
#: With task sets these are theirs, not the service's.
_OF_THE_TASK_SET = ("launchType", "networkConfiguration", "platformVersion")
#: Lists whose order means nothing to AWS.
_SETS = {"subnets", "securityGroups", "requiresCompatibilities", "dependsOn"}


def drift_enabled(_: Any) -> bool:
    return True


async def detect_drift(look: Look) -> Drift:
    wanted = look.desired.service
    if wanted is None:
        return NONE
    cluster = wanted.cluster.rsplit("/", 1)[-1]
    service_key = f"ecs:Service:{cluster}:{wanted.name}"
    async with connect(look.provider) as ecs:
        live = await ecs.service(wanted.cluster, wanted.name)
        if live is None or live.status == "DRAINING":
            missing = Pair(key=service_key, running=None, git=wanted.fields)
            return compare([missing], look.ignored, look.clean)
        sets = await ecs.every_task_set(wanted.cluster, wanted.name) if live.has_task_sets else []
        primary = next((one for one in sets if one["status"] == "PRIMARY"), {})
        scaled = not wanted.desired_count or await owns_the_count(look.provider, wanted.cluster, wanted.name)
        definition = await _definition(ecs, live, primary)
    pairs = [
        Pair(
            key=service_key,
            running=_settled(_running(live, primary)),
            git=_settled(_asked(wanted, skip={"desiredCount"} if scaled else set())),
        ),
        Pair(
            key=f"ecs:TaskDefinition::{look.desired.task.family}",
            running=_settled(definition) if definition is not None else None,
            git=_settled(look.desired.task.fields),
        ),
    ]
    return compare(pairs, look.ignored, look.clean)


async def _definition(ecs: Ecs, live: Service, primary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    revision = primary.get("taskDefinition") or live.task_definition
    return await ecs.definition(str(revision)) if revision else None


def _running(live: Service, primary: Mapping[str, Any]) -> Mapping[str, Any]:
    of_the_set = {name: primary[name] for name in _OF_THE_TASK_SET if name in primary}
    return {"deploymentController": {"type": live.controller}, **live.fields, **of_the_set}


def _asked(wanted: ServiceDefinition, *, skip: set[str]) -> Mapping[str, Any]:
    fields = {name: value for name, value in wanted.fields.items() if name not in _NOT_COMPARED | skip}
    if str(fields.get("platformVersion", "")).upper() == "LATEST":
        # AWS answers with the number of it.
        del fields["platformVersion"]
    return fields


def _settled(tree: Any, name: str = "") -> Any:
    """Without what AWS chooses (a host's port) and without an order where there is none."""
    if isinstance(tree, Mapping):
        kept = {key: value for key, value in tree.items() if key != "hostPort"}
        return {key: _settled(value, key) for key, value in kept.items()}
    if isinstance(tree, list):
        items = [_settled(item) for item in tree]
        return sorted(items, key=str) if name in _SETS else items
    return tree

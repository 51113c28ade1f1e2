"""Which member of a service definition goes into which request of AWS, per deployment controller.

The tables name what AWS restricts. Everything else follows from the SDK's model: a member that AWS adds to
its requests is sent for the controller ECS, and refused for EXTERNAL until it is listed here. Sources:
"Deploy Amazon ECS services using a third-party controller" in ECS's developer guide, and the API reference.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipecd.errors import ConfigError, Place
from pipecd.platforms.ecs.config import Input, TargetGroup
from pipecd.platforms.ecs.shapes import members

EXTERNAL, ROLLING = "EXTERNAL", "ECS"
Fields = Mapping[str, Any]

#: Members that every deployment determines itself; the file's values are ignored.
_DETERMINED = frozenset({"taskDefinition", "clientToken"})
#: Members that requests get in another way: tags by calls of their own, the balancers from `load_balancers`.
_SEPARATE = frozenset({"tags", "loadBalancers"})
#: What CreateService accepts for EXTERNAL; everything else belongs to the task sets, or is not possible.
_EXTERNAL_CREATE = frozenset(
    {
        "cluster",
        "serviceName",
        "desiredCount",
        "deploymentController",
        "deploymentConfiguration",
        "enableECSManagedTags",
        "enableExecuteCommand",
        "healthCheckGracePeriodSeconds",
        "placementConstraints",
        "placementStrategy",
        "propagateTags",
        "schedulingStrategy",
    }
)
#: What UpdateService accepts for EXTERNAL, besides the desired count.
_EXTERNAL_UPDATE = frozenset(
    {
        "enableECSManagedTags",
        "enableExecuteCommand",
        "healthCheckGracePeriodSeconds",
        "placementConstraints",
        "placementStrategy",
        "propagateTags",
    }
)
#: AWS's defaults of members that are reset when they are removed from the file.
_RESET: Fields = {
    "enableExecuteCommand": False,
    "enableECSManagedTags": False,
    "propagateTags": "NONE",
    "placementConstraints": [],
    "placementStrategy": [],
}
#: Values that are the same as no value; a file copied from a response of AWS contains them.
_OFF: tuple[Any, ...] = (None, "", False, [], {}, "DISABLED", {"enabled": False})


def creation(fields: Fields, controller: str) -> dict[str, Any]:
    """The file's part of CreateService."""
    allowed = _EXTERNAL_CREATE if controller == EXTERNAL else members("CreateServiceRequest")
    return _pick(fields, allowed - _DETERMINED - _SEPARATE)


def update(fields: Fields, live: Fields, controller: str) -> dict[str, Any]:
    """The file's part of UpdateService, without the desired count.

    For EXTERNAL only what differs from the live service; otherwise AWS compares it itself.
    """
    separate = {"desiredCount", "deploymentController", "cluster"}
    allowed = _EXTERNAL_UPDATE if controller == EXTERNAL else members("UpdateServiceRequest")
    written = _pick(fields, allowed - _DETERMINED - _SEPARATE - separate)
    reset = {
        name: default
        for name, default in _RESET.items()
        if name not in written and live.get(name, default) != default
    }
    if controller == EXTERNAL:
        defaults = {**_RESET, "healthCheckGracePeriodSeconds": 0}
        changed = {name for name, value in written.items() if live.get(name, defaults.get(name)) != value}
        return reset | _pick(written, frozenset(changed))
    if "launchType" in fields:
        written.pop("capacityProviderStrategy", None)
        if live.get("capacityProviderStrategy"):
            # AWS's way back from capacity providers to a launch type.
            written["capacityProviderStrategy"] = []
    return reset | written


def task_set(fields: Fields) -> dict[str, Any]:
    """The file's part of CreateTaskSet."""
    return _pick(fields, task_set_members() - _SEPARATE)


def task_set_members() -> frozenset[str]:
    """The members of a service definition that belong to the task sets of an EXTERNAL service."""
    common = members("CreateServiceRequest") & members("CreateTaskSetRequest")
    return common - _DETERMINED - {"cluster", "tags"}


def load_balancers(fields: Fields, app_input: Input) -> list[dict[str, Any]]:
    """Of a service with the controller ECS, or of its primary task set: `loadBalancers`, else the group."""
    group = app_input.target_groups.primary
    if written := fields.get("loadBalancers"):
        return list(written)
    return [target_group(group)] if app_input.access_type == "ELB" and group else []


def target_group(group: TargetGroup) -> dict[str, Any]:
    """The group as AWS's `LoadBalancer`."""
    container = {"containerName": group.container_name, "containerPort": group.container_port}
    return {"targetGroupArn": group.target_group_arn, **(container if group.container_name else {})}


def comparable(fields: Fields, controller: str) -> dict[str, Any]:
    """The members that are sent, and that AWS returns.

    Those that AWS cannot change are among them: a difference shows that the service was made otherwise.
    """
    sent = creation(fields, controller)
    if controller == EXTERNAL:
        sent |= task_set(fields)
    return _pick(sent, members("Service") - {"serviceRegistries"})


def find_unsupported(
    fields: Fields, controller: str, app_input: Input, places: Mapping[str, Place]
) -> ConfigError | None:
    """The first member that AWS refuses for a service with this controller; None if there is none."""
    for rule in (_launch_type_and_capacity, _balancers, *(_EXTERNAL_RULES if controller == EXTERNAL else ())):
        if found := rule(fields, app_input):
            name, what, remedy = found
            return ConfigError(what, remedy=remedy, place=places.get(name))
    return None


#: The member, what is wrong with it, and a remedy.
_Unsupported = tuple[str, str, str] | None


def _launch_type_and_capacity(fields: Fields, _: Input) -> _Unsupported:
    if "launchType" not in fields or not fields.get("capacityProviderStrategy"):
        return None
    return (
        "capacityProviderStrategy",
        "AWS does not allow it together with launchType",
        "remove launchType to use capacity providers, or remove capacityProviderStrategy",
    )


def _balancers(fields: Fields, app_input: Input) -> _Unsupported:
    balancers, primary = fields.get("loadBalancers") or [], app_input.target_groups.primary
    if not balancers or not primary or app_input.access_type != "ELB":
        return None
    if any(balancer.get("targetGroupArn") == primary.target_group_arn for balancer in balancers):
        return None
    return (
        "loadBalancers",
        "does not contain the target group of input.targetGroups.primary",
        "add it, or remove input.targetGroups or loadBalancers",
    )


def _external_members(fields: Fields, _: Input) -> _Unsupported:
    known = _EXTERNAL_CREATE | task_set_members() | _DETERMINED | {"tags"}
    for name, value in fields.items():
        if name not in known and value not in _OFF:
            return (
                name,
                f"AWS does not allow it with the deployment controller {EXTERNAL}",
                f"remove it, or set deploymentController.type: {ROLLING}",
            )
    return None


def _external_scheduling(fields: Fields, _: Input) -> _Unsupported:
    if fields.get("schedulingStrategy") != "DAEMON":
        return None
    return (
        "schedulingStrategy",
        f"AWS does not allow DAEMON with the deployment controller {EXTERNAL}",
        f"set REPLICA, or deploymentController.type: {ROLLING}",
    )


def _external_balancers(fields: Fields, _: Input) -> _Unsupported:
    balancers = fields.get("loadBalancers") or []
    if len(balancers) < 2 and not any(balancer.get("loadBalancerName") for balancer in balancers):
        return None
    return (
        "loadBalancers",
        f"AWS allows one target group with the deployment controller {EXTERNAL}, and no loadBalancerName",
        f"keep the target group that gets the traffic, or set deploymentController.type: {ROLLING}",
    )


_EXTERNAL_RULES = (_external_members, _external_scheduling, _external_balancers)


def refused_changes(running: Fields, target: Fields, controller: str) -> Sequence[str]:
    """Changes of a service definition that AWS does not allow for an existing service, as sentences."""
    name = target["serviceName"]
    fixed = {"deploymentController", "schedulingStrategy", "role"}
    fixed |= {"deploymentConfiguration"} if controller == EXTERNAL else set()
    if controller != EXTERNAL and "capacityProviderStrategy" not in {*running, *target}:
        fixed |= {"launchType"}
    changed = [key for key in sorted(fixed) if key in running and key in target]
    return [
        f"AWS cannot change {key} of the service {name}; restore it, or delete the service and sync again"
        for key in changed
        if running[key] != target[key]
    ]


def _pick(fields: Fields, names: frozenset[str]) -> dict[str, Any]:
    """Those of `fields` in `names`. AWS accepts a launch type or capacity providers."""
    picked = {name: value for name, value in fields.items() if name in names}
    if "launchType" in picked:
        picked.pop("capacityProviderStrategy", None)
    return picked

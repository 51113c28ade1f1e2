"""How ECS differs from moto: it validates requests, limits task sets, and returns what it was sent.

moto accepts any value for an enum, and any member for any deployment controller; it forgets most members of a
request. Sources: the SDK's model, ECS's API reference, and "Deploy Amazon ECS services using a third-party
controller" in the developer guide.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.session import Session

from tests.platforms.aws.emulator import Call, Failure

MODEL: Any = Session().get_service_model("ecs")
MAX_TASK_SETS = 5
ROLE = "arn:aws:iam::123456789012:role/"
#: What each request accepts for a service with the controller EXTERNAL.
EXTERNAL_CREATE = {
    "cluster", "serviceName", "desiredCount", "deploymentController", "deploymentConfiguration", "tags",
    "enableECSManagedTags", "enableExecuteCommand", "propagateTags", "healthCheckGracePeriodSeconds",
    "schedulingStrategy", "placementConstraints", "placementStrategy", "clientToken",
}  # fmt: skip
EXTERNAL_UPDATE = {
    "cluster", "service", "desiredCount", "enableECSManagedTags", "enableExecuteCommand", "propagateTags",
    "healthCheckGracePeriodSeconds", "placementConstraints", "placementStrategy",
}  # fmt: skip


@dataclass
class EcsRules:
    """`drains`: how many times the task sets are read before a deleted one is gone."""

    drains: int = 1
    #: What was sent, by the ARN of a task definition or task set, or the name of a service.
    _sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: The task sets of each service.
    _task_sets: dict[str, set[str]] = field(default_factory=dict)
    #: Deleted task sets: how often they are still returned, and as what.
    _draining: dict[str, tuple[int, Any]] = field(default_factory=dict)

    def refuse(self, call: Call) -> Failure | None:
        name = call.name.removeprefix("ecs.")
        if not call.name.startswith("ecs.") or name not in MODEL.operation_names:
            return None
        message = next(invalid_enum_values(MODEL.operation_model(name).input_shape, call.body, ""), "")
        if message:
            return Failure(name=call.name, status=400, code="ClientException", message=message)
        message = self._refusal(name, call.body)
        code = "InvalidParameterException"
        return Failure(name=call.name, status=400, code=code, message=message) if message else None

    def _refusal(self, name: str, body: dict[str, Any]) -> str:
        if "launchType" in body and body.get("capacityProviderStrategy"):
            return "Specifying both a launch type and capacity provider strategy is not supported."
        match name:
            case "CreateService":
                controller = body.get("deploymentController", {}).get("type", "ECS")
                if body.get("role") and controller == "EXTERNAL":
                    return "You cannot specify an IAM role for services that require a service linked role."
                if controller == "EXTERNAL" and (wrong := set(body) - EXTERNAL_CREATE):
                    return f"{min(wrong)} cannot be specified with an external deployment controller."
                if controller == "EXTERNAL" and body.get("schedulingStrategy") == "DAEMON":
                    return "The daemon scheduling strategy is not supported by external deployments."
            case "UpdateService":
                controller = self._sent.get(body["service"], {}).get("deploymentController", {}).get("type")
                if controller == "EXTERNAL" and (wrong := set(body) - EXTERNAL_UPDATE):
                    return f"{min(wrong)} cannot be updated with an external deployment controller."
            case "CreateTaskSet":
                balancers = body.get("loadBalancers", [])
                if len(balancers) > 1 or any("loadBalancerName" in balancer for balancer in balancers):
                    return "Only one target group is supported for a task set."
                existing = len(self._task_sets.get(body["service"], ())) + len(self._draining)
                if existing >= MAX_TASK_SETS:
                    return (
                        f"{existing} deployments exist on the service. Unable to create new TaskSet since"
                        " this exceeds the maximum limit."
                    )
        return ""

    def translate(self, call: Call) -> dict[str, Any] | None:
        """moto places tasks of capacity providers on instances."""
        if call.name == "ecs.CreateTaskSet" and "capacityProviderStrategy" in call.body:
            return {**call.body, "launchType": "FARGATE"}
        return None

    def answer(self, _: Call) -> Any:
        return None

    def violations(self, _: Call) -> Sequence[str]:
        return ()

    def amend(self, call: Call, response: Any) -> None:
        match call.name.removeprefix("ecs."):
            case "RegisterTaskDefinition":
                self._sent[response["taskDefinition"]["taskDefinitionArn"]] = call.body
            case "CreateService":
                self._sent[call.body["serviceName"]] = call.body
            case "UpdateService":
                sent = {key: value for key, value in call.body.items() if key != "service"}
                self._sent.setdefault(call.body["service"], {}).update(sent)
            case "CreateTaskSet":
                arn = response["taskSet"]["taskSetArn"]
                self._sent[arn] = call.body
                self._task_sets.setdefault(call.body["service"], set()).add(arn)
            case "DeleteTaskSet":
                arn = call.body["taskSet"]
                self._task_sets.get(call.body["service"], set()).discard(arn)
                if self.drains:
                    draining = {**response.get("taskSet", {}), "taskSetArn": arn, "status": "DRAINING"}
                    self._draining[arn] = (self.drains, draining)
            case "DescribeTaskDefinition":
                live = response["taskDefinition"]
                live.update(self._returned("TaskDefinition", live["taskDefinitionArn"]))
            case "DescribeServices":
                for live in response["services"]:
                    live.update(self._returned("Service", live["serviceName"]))
            case "DescribeTaskSets":
                self._amend_task_sets(response["taskSets"])

    def _amend_task_sets(self, live: list[Any]) -> None:
        for task_set in live:
            task_set.update(self._returned("TaskSet", task_set["taskSetArn"]))
        known = {task_set["taskSetArn"] for task_set in live}
        live += [task_set for arn, (_, task_set) in self._draining.items() if arn not in known]
        left = {arn: (reads - 1, task_set) for arn, (reads, task_set) in self._draining.items()}
        self._draining = {arn: row for arn, row in left.items() if row[0] > 0}

    def _returned(self, shape: str, key: str) -> dict[str, Any]:
        not_echoed = {"tags", "desiredCount", "taskDefinition", "scale"}
        names = set(MODEL.shape_for(shape).members) - not_echoed
        sent = {name: value for name, value in self._sent.get(key, {}).items() if name in names}
        returned: dict[str, Any] = as_returned(sent, random.Random(key))
        return returned


def invalid_enum_values(shape: Any, value: Any, name: str) -> Iterator[str]:
    """AWS's message for each value that its enum does not have."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, item in value.items():
            if key in shape.members:
                yield from invalid_enum_values(shape.members[key], item, key)
    elif shape.type_name == "list" and isinstance(value, list):
        for item in value:
            yield from invalid_enum_values(shape.member, item, name)
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{value} is not a valid value for {name}. The value must be one of [{','.join(shape.enum)}]"


def as_returned(sent: Any, chance: random.Random, name: str = "") -> Any:
    """What AWS returns of what it was sent: in its own notation, with defaults, lists in another order."""
    if isinstance(sent, dict):
        defaults: Mapping[str, Mapping[str, Any]] = {
            "portMappings": {"hostPort": 49153, "protocol": "tcp"},
            "volumes": {"host": {}},
        }
        if name == "containerDefinitions":
            added = {"cpu": 0, "mountPoints": [], "volumesFrom": [], "essential": True, "systemControls": []}
        else:
            added = dict(defaults.get(name, {}))
        kept = {
            key: as_returned(value, chance, key)
            for key, value in sent.items()
            # AWS leaves out some of the values that are not set.
            if key == "essential" or value not in (False, 0, [], {}, "") or chance.random() < 0.5
        }
        return {**added, **kept}
    if isinstance(sent, list):
        items = [as_returned(item, chance, name) for item in sent]
        mixed = {"environment", "secrets", "subnets", "securityGroups", "requiresCompatibilities", "volumes"}
        if name in mixed | {"capacityProviderStrategy", "placementConstraints", "containerDefinitions"}:
            chance.shuffle(items)
        return items
    if isinstance(sent, str):
        return _as_returned_text(sent, name)
    return sent


def _as_returned_text(sent: str, name: str) -> str:
    for unit, unit_name in (("vcpu", "cpu"), ("gb", "memory")):
        if name == unit_name and sent.lower().endswith(unit):
            return str(int(float(sent.lower().removesuffix(unit)) * 1024))
    if name in ("taskRoleArn", "executionRoleArn") and sent and not sent.startswith("arn:"):
        return ROLE + sent
    if name == "platformVersion" and sent == "LATEST":
        return "1.4.0"
    return sent

"""Nothing differs right after a deployment, whatever the files contain and however AWS writes it."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipecd.model.drift import IgnoredFields, compare
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.config import Input
from pipecd.platforms.ecs.drift import resource_pairs
from pipecd.platforms.ecs.members import EXTERNAL, ROLLING
from pipecd.platforms.ecs.shapes import fit_to_shape
from pipecd.platforms.ecs.source import DesiredState, ServiceDefinition, TaskDefinition
from tests.platforms.aws.ecs_rules import MODEL, as_returned

UNITS = {
    "cpu": [("256", "1024"), (".25 vCPU", "0.5 vcpu", "1 vCPU", "1vCPU")],
    "memory": [("512", "2048"), ("0.5 GB", "1 GB", "1GB", "2 gb")],
}
TEXT = st.text("abz19-", min_size=1, max_size=6)


def values(shape: Any, name: str = "", depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a structure of AWS's API, as a user may write them."""
    match shape.type_name:
        case "structure":
            optional = {key: values(member, key, depth + 1) for key, member in shape.members.items()}
            required = {key: optional.pop(key) for key in shape.required_members}
            # Lists of named items have unique names in AWS.
            if "name" in optional:
                required["name"] = optional.pop("name")
            return st.fixed_dictionaries(required, optional=optional if depth < 5 else {})
        case "list":
            key = next((key for key in ("name", "key", "capacityProvider") if key in _members(shape)), None)
            unique: dict[str, Any] = {"unique_by": lambda item: str(item.get(key))} if key else {}
            return st.lists(values(shape.member, name, depth), max_size=3, **unique)
        case "map":
            return st.dictionaries(TEXT, values(shape.value, name, depth + 1), max_size=2)
        case "boolean":
            return st.booleans()
        case "integer" | "long":
            return st.integers(0, 9)
        case "float" | "double":
            return st.floats(0, 9, width=16)
        case _:
            if shape.enum:
                return st.sampled_from(["", *shape.enum])
            if name in UNITS and depth == 1:
                return st.sampled_from([text for texts in UNITS[name] for text in texts])
            return TEXT


def _members(shape: Any) -> set[str]:
    return set(shape.member.members) if shape.member.type_name == "structure" else set()


TASKS = values(MODEL.shape_for("RegisterTaskDefinitionRequest"))
SERVICES = values(MODEL.shape_for("CreateServiceRequest"))


@settings(max_examples=60, deadline=None)
@given(task=TASKS, service=SERVICES, controller=st.sampled_from([EXTERNAL, ROLLING]), seed=st.integers(0, 99))
def test_whatever_was_sent_is_in_sync(task: Any, service: Any, controller: str, seed: int) -> None:
    chance = random.Random(seed)
    written = fit_to_shape("RegisterTaskDefinitionRequest", {**task, "tags": []}, "file", {})
    sent_task = {name: value for name, value in written.items() if name != "tags" and value != ""}
    fields = fit_to_shape("CreateServiceRequest", service, "file", {})
    fields = {**fields, "serviceName": "shop", "cluster": "c", "deploymentController": {"type": controller}}
    created = {**members.creation(fields, controller), "desiredCount": 2}
    live = Service(
        arn="arn",
        status="ACTIVE",
        controller=controller,
        task_definition="shop:1",
        desired_count=2,
        running=2,
        pending=0,
        tags={},
        rollout="COMPLETED",
        rollout_reason="",
        event="",
        fields=as_returned(created, chance),
    )
    primary = as_returned(members.task_set(fields), chance) if controller == EXTERNAL else {}
    desired = DesiredState(
        input=Input(),
        task=TaskDefinition(family="shop", images=["web"], tags={}, fields=sent_task),
        service=ServiceDefinition(
            name="shop", cluster="c", controller=controller, desired_count=2, tags={}, fields=fields
        ),
    )
    pairs = resource_pairs(desired, live, primary, as_returned(sent_task, chance), skip_count=True)
    drift = compare(pairs, IgnoredFields(), lambda text: text)
    assert drift.in_sync, drift.details

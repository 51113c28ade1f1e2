"""Whether the stages of an ECS pipeline fit together, and fit what is deployed. Pure.

Checked when the application's file is read, before anything is deployed.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pipecd.config.application import SpecError
from pipecd.platforms.ecs.config import EcsApp, Input

_SERVICE_STAGES = frozenset(
    {"ECS_PRIMARY_ROLLOUT", "ECS_CANARY_ROLLOUT", "ECS_TRAFFIC_ROUTING", "ECS_CANARY_CLEAN"}
)


class Fault(NamedTuple):
    what: str
    remedy: str


def check(spec: EcsApp) -> Iterator[SpecError]:
    """What is wrong with the pipeline."""
    names = [stage.name for stage in spec.pipeline.stages] if spec.pipeline else []
    for index, name in enumerate(names):
        path = ("pipeline", "stages", index)
        if fault := find_fault(name, spec.input):
            yield SpecError(path=path, what=fault.what, remedy=fault.remedy)
        elif name == "ECS_CANARY_CLEAN" and "ECS_CANARY_ROLLOUT" not in names[:index]:
            yield SpecError(
                path=path, what="there is no canary", remedy="add ECS_CANARY_ROLLOUT before ECS_CANARY_CLEAN"
            )


def find_fault(stage: str, app_input: Input) -> Fault | None:
    """Why the stage cannot deploy what the application's file declares."""
    if stage in _SERVICE_STAGES and not app_input.service_definition_file:
        return no_service(stage)
    groups, balanced = app_input.target_groups, app_input.access_type == "ELB"
    match stage:
        case "ECS_CANARY_ROLLOUT" if balanced and groups.canary is None:
            return Fault(
                "ECS_CANARY_ROLLOUT requires the canary target group",
                "set input.targetGroups.canary, or accessType: SERVICE_DISCOVERY",
            )
        case "ECS_TRAFFIC_ROUTING" if not balanced:
            return Fault(
                f"accessType {app_input.access_type} does not support traffic routing",
                "remove ECS_TRAFFIC_ROUTING; the canary's scale determines its traffic",
            )
        case "ECS_TRAFFIC_ROUTING" if groups.primary is None or groups.canary is None:
            return Fault(
                "ECS_TRAFFIC_ROUTING requires both target groups",
                "set input.targetGroups.primary and input.targetGroups.canary",
            )
    return None


def no_service(stage: str) -> Fault:
    return Fault(
        f"{stage} requires a service, and this is a standalone task",
        "set input.serviceDefinitionFile, or use only ECS_SYNC",
    )

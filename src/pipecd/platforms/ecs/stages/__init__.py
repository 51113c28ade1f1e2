"""What the ECS stages do. Each is a row of steps; a step answers what it did, or None for nothing.

So a stage that is called again finds its place by looking, and takes one step. Deleting comes after routing,
everywhere: traffic never points at a task set that is gone.
"""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction
from pipecd.platforms.ecs.stages.canary import canary_rollout
from pipecd.platforms.ecs.stages.clean import canary_clean
from pipecd.platforms.ecs.stages.primary import primary_rollout
from pipecd.platforms.ecs.stages.rollback import ecs_rollback
from pipecd.platforms.ecs.stages.routing import traffic_routing
from pipecd.platforms.ecs.stages.sync import ecs_sync

STAGES: Mapping[str, StageFunction] = {
    "ECS_SYNC": ecs_sync,
    "ECS_PRIMARY_ROLLOUT": primary_rollout,
    "ECS_CANARY_ROLLOUT": canary_rollout,
    "ECS_TRAFFIC_ROUTING": traffic_routing,
    "ECS_CANARY_CLEAN": canary_clean,
    "ROLLBACK": ecs_rollback,
}

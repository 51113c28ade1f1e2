"""The ECS stages. Each is a sequence of steps; a step returns what it did, or None if it had nothing to do.

A stage that is called again therefore observes how far it got, and takes the next step. Every stage routes
before it deletes, so that traffic never points at a deleted task set.
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

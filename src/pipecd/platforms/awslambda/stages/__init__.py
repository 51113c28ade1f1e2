"""The Lambda stages. Only `route` changes traffic, with one revision-checked call at a time."""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction
from pipecd.platforms.awslambda.stages.canary import canary_rollout
from pipecd.platforms.awslambda.stages.promote import promote_stage
from pipecd.platforms.awslambda.stages.rollback import lambda_rollback
from pipecd.platforms.awslambda.stages.sync import lambda_sync

STAGES: Mapping[str, StageFunction] = {
    "LAMBDA_SYNC": lambda_sync,
    "LAMBDA_CANARY_ROLLOUT": canary_rollout,
    "LAMBDA_PROMOTE": promote_stage,
    "ROLLBACK": lambda_rollback,
}

"""The Cloud Run stages. Only `release` changes the traffic of a service."""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction
from pipecd.platforms.cloudrun.stages.job import job_sync
from pipecd.platforms.cloudrun.stages.promote import cloudrun_promote
from pipecd.platforms.cloudrun.stages.rollback import cloudrun_rollback
from pipecd.platforms.cloudrun.stages.sync import cloudrun_sync

STAGES: Mapping[str, StageFunction] = {
    "CLOUDRUN_SYNC": cloudrun_sync,
    "CLOUDRUN_PROMOTE": cloudrun_promote,
    "CLOUDRUN_JOB_SYNC": job_sync,
    "ROLLBACK": cloudrun_rollback,
}

"""The Cloud Run stages. Only `release` changes the traffic of a service."""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction, StopFunction
from pipecd.platforms.cloudrun.stages.job import job_sync, stop_job_sync
from pipecd.platforms.cloudrun.stages.promote import cloudrun_promote
from pipecd.platforms.cloudrun.stages.rollback import cloudrun_rollback
from pipecd.platforms.cloudrun.stages.sync import cloudrun_sync, stop_cloudrun_sync

STAGES: Mapping[str, StageFunction] = {
    "CLOUDRUN_SYNC": cloudrun_sync,
    "CLOUDRUN_PROMOTE": cloudrun_promote,
    "CLOUDRUN_JOB_SYNC": job_sync,
    "ROLLBACK": cloudrun_rollback,
}
STOP: Mapping[str, StopFunction] = {
    "CLOUDRUN_SYNC": stop_cloudrun_sync,
    "CLOUDRUN_JOB_SYNC": stop_job_sync,
}

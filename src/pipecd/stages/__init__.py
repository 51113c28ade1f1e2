"""Stages that work on every platform, by their names in a pipeline. Used by `piped.deploy.perform`."""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction
from pipecd.stages.approval import wait_approval
from pipecd.stages.custom import custom_sync, custom_sync_rollback
from pipecd.stages.script import script_run, script_run_rollback
from pipecd.stages.wait import wait_stage

STAGES: Mapping[str, StageFunction] = {
    "WAIT": wait_stage,
    "WAIT_APPROVAL": wait_approval,
    "SCRIPT_RUN": script_run,
    "SCRIPT_RUN_ROLLBACK": script_run_rollback,
    "CUSTOM_SYNC": custom_sync,
    "CUSTOM_SYNC_ROLLBACK": custom_sync_rollback,
}

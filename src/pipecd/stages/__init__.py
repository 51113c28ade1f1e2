"""Stages that work on every platform, by their names in a pipeline.

`platforms.stage_tables` combines both tables with those of a platform.
"""

from collections.abc import Mapping

from pydantic import BaseModel

from pipecd.config.analysis import AnalysisOptions
from pipecd.config.stages import CustomSyncOptions, ScriptRunOptions, WaitApprovalOptions, WaitOptions
from pipecd.model.plan import (
    ANALYSIS,
    CUSTOM_SYNC,
    CUSTOM_SYNC_ROLLBACK,
    SCRIPT_RUN,
    SCRIPT_RUN_ROLLBACK,
    WAIT_APPROVAL,
)
from pipecd.model.stage import StageFunction
from pipecd.stages.analysis import analyse
from pipecd.stages.approval import wait_approval
from pipecd.stages.custom import custom_sync, custom_sync_rollback
from pipecd.stages.script import script_run, script_run_rollback
from pipecd.stages.wait import wait_stage

WAIT = "WAIT"

#: Stage name → the type that `with` is decoded to, for every stage that a pipeline may contain.
OPTIONS: Mapping[str, type[BaseModel]] = {
    WAIT: WaitOptions,
    WAIT_APPROVAL: WaitApprovalOptions,
    ANALYSIS: AnalysisOptions,
    SCRIPT_RUN: ScriptRunOptions,
    CUSTOM_SYNC: CustomSyncOptions,
}
STAGES: Mapping[str, StageFunction] = {
    WAIT: wait_stage,
    WAIT_APPROVAL: wait_approval,
    ANALYSIS: analyse,
    SCRIPT_RUN: script_run,
    SCRIPT_RUN_ROLLBACK.name: script_run_rollback,
    CUSTOM_SYNC: custom_sync,
    CUSTOM_SYNC_ROLLBACK.name: custom_sync_rollback,
}

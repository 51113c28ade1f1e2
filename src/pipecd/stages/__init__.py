"""Stages that work on every platform, by their names in a pipeline.

`platforms.stage_tables` combines both tables with those of a platform.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel

from pipecd.config.analysis import AnalysisOptions
from pipecd.config.document import Path as KeyPath
from pipecd.config.stages import CustomSyncOptions, ScriptRunOptions, WaitApprovalOptions, WaitOptions
from pipecd.model.analysis import AnalysisProviders
from pipecd.model.plan import (
    ANALYSIS,
    CUSTOM_SYNC,
    CUSTOM_SYNC_ROLLBACK,
    SCRIPT_RUN,
    SCRIPT_RUN_ROLLBACK,
    WAIT_APPROVAL,
)
from pipecd.model.stage import Source, StageFunction
from pipecd.stages.analysis import analyse, check_analysis
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


class CheckStage(Protocol):
    async def __call__(
        self, options: Any, path: KeyPath, source: Source, providers: AnalysisProviders, /
    ) -> None: ...


#: Stage name → what raises ConfigError if the agent, or another file of the checkout, lacks what it needs.
CHECKS: Mapping[str, CheckStage] = {ANALYSIS: check_analysis}


async def check_pipeline(source: Source, providers: AnalysisProviders) -> None:
    """Before anything is deployed: raises ConfigError for a stage that could only fail."""
    pipeline = source.config.spec.pipeline
    for index, stage in enumerate(pipeline.stages if pipeline else ()):
        if check := CHECKS.get(stage.name):
            await check(stage.options, ("spec", "pipeline", "stages", index), source, providers)

"""CUSTOM_SYNC, a command that syncs the application instead of a platform's stage, and its rollback.

Deprecated in PipeCD in favour of SCRIPT_RUN. The rollback runs the command of the running commit.
"""

from collections.abc import Sequence
from typing import Any

from pipecd.config.stages import CustomSyncOptions
from pipecd.model.plan import CUSTOM_SYNC
from pipecd.model.stage import Failed, Outcome, Source, Work
from pipecd.stages.script import attempt_started, run_script, start_attempt


async def custom_sync(work: Work[CustomSyncOptions]) -> Outcome:
    return await _sync(work, work.options, await work.checkouts.target())


async def custom_sync_rollback(work: Work[Any]) -> Outcome:
    source = await work.checkouts.running()
    stages: Sequence[Any] = source.config.spec.pipeline.stages if source.config.spec.pipeline else ()
    if [stage.name for stage in stages] != [CUSTOM_SYNC]:
        return Failed(
            reason="the running commit's pipeline is not a single CUSTOM_SYNC, so it cannot be run again",
            remedy="roll the application back manually, or deploy a working commit",
        )
    return await _sync(work, stages[0].options, source)


async def _sync(work: Work[Any], options: CustomSyncOptions, source: Source) -> Outcome:
    if not attempt_started(work):
        return start_attempt(work)
    return await run_script(work, options.run, source.directory, options.envs)

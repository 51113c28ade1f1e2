"""CUSTOM_SYNC: a command that syncs the application, in place of a platform's own stage; and its rollback.

PipeCD calls it deprecated in favour of SCRIPT_RUN. Its rollback runs the command of the running commit.
"""

from collections.abc import Sequence
from typing import Any

from pipecd.config.stages import CustomSyncOptions
from pipecd.model.stage import Failed, Outcome, Source, Work
from pipecd.stages.script import begin_attempt, begun_in_this_process, run_script


async def custom_sync(work: Work[CustomSyncOptions]) -> Outcome:
    if not begun_in_this_process(work):
        return begin_attempt(work)
    return await _sync(work, work.options, await work.target())


async def custom_sync_rollback(work: Work[Any]) -> Outcome:
    source = await work.running()
    stages: Sequence[Any] = source.config.spec.pipeline.stages if source.config.spec.pipeline else ()
    if [stage.name for stage in stages] != ["CUSTOM_SYNC"]:
        return Failed(
            reason="the running commit's pipeline is not one CUSTOM_SYNC alone; it cannot be run again",
            remedy="bring the application back by hand, or deploy a good commit",
        )
    if not begun_in_this_process(work):
        return begin_attempt(work)
    return await _sync(work, stages[0].options, source)


async def _sync(work: Work[Any], options: CustomSyncOptions, source: Source) -> Outcome:
    return await run_script(work, options.run, source.directory, options.envs)

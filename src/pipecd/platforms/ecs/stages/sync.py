"""ECS_SYNC: replaces all tasks by the new version with all the traffic, or starts a standalone task."""

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.client import connect
from pipecd.platforms.ecs.config import SyncOptions
from pipecd.platforms.ecs.source import load_desired_state
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.primary import replace_primary
from pipecd.platforms.ecs.stages.standalone import run_standalone_task


async def ecs_sync(work: Work[SyncOptions]) -> Outcome:
    source = await work.checkouts.target()
    desired = load_desired_state(source)
    if desired.service is None:
        async with connect(work.provider) as client:
            return await run_standalone_task(work, client, desired, source.commit)
    # A quick sync is not in a pipeline: its options are in `spec.quickSync`.
    recreate = work.options.recreate or (work.stage.predefined and source.config.spec.quick_sync.recreate)
    async with service_job(work, source) as job:
        return await replace_primary(job, recreate=recreate) or Done(note="The new version is running")

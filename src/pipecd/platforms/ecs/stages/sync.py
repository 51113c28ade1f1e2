"""ECS_SYNC: the new version replaces all that ran, and gets all the traffic. A standalone task is started."""

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.ecs.client import connect
from pipecd.platforms.ecs.config import SyncOptions
from pipecd.platforms.ecs.source import desired
from pipecd.platforms.ecs.stages.job import service_job
from pipecd.platforms.ecs.stages.primary import replaced
from pipecd.platforms.ecs.stages.standalone import started


async def ecs_sync(work: Work[SyncOptions]) -> Outcome:
    source = await work.target()
    wanted = desired(source)
    if wanted.service is None:
        async with connect(work.provider) as ecs:
            return await started(work, ecs, wanted, source.commit)
    # A quick sync is not written in a pipeline: its options stand under quickSync.
    recreate = work.options.recreate or (work.stage.predefined and source.config.spec.quick_sync.recreate)
    async with service_job(work, source) as job:
        return await replaced(job, recreate=recreate) or Done(note="The new version runs")

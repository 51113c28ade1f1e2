"""CLOUDRUN_SYNC: a new revision gets all traffic when it is ready. A job is only updated."""

from typing import Any

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.cloudrun.stages.job import stop_execution, sync_job
from pipecd.platforms.cloudrun.stages.release import deploy, open_release


async def cloudrun_sync(work: Work[Any]) -> Outcome:
    source = await work.checkouts.target()
    if source.config.spec.input.job_manifest_file:
        return await sync_job(work, source, source.config.spec.quick_sync)
    async with open_release(work, source) as release:
        if step := await deploy(release, 100):
            return step
    return Done(note=f"All traffic goes to revision {work.shared[release.candidate_key]}")


async def stop_cloudrun_sync(work: Work[Any]) -> None:
    source = await work.checkouts.target()
    if source.config.spec.input.job_manifest_file:
        await stop_execution(work, source, source.config.spec.quick_sync)

"""CLOUDRUN_SYNC: a new revision gets all traffic when it is ready. A job is only updated."""

from typing import Any

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.cloudrun.config import JobOptions
from pipecd.platforms.cloudrun.stages.job import sync_job
from pipecd.platforms.cloudrun.stages.release import (
    create_revision,
    delete_old_revisions,
    move_traffic,
    open_release,
    record_traffic,
)


async def cloudrun_sync(work: Work[Any]) -> Outcome:
    source = await work.checkouts.target()
    if source.config.spec.input.job_manifest_file:
        options: JobOptions = source.config.spec.quick_sync
        return await sync_job(work, source, options)
    async with open_release(work, source) as release:
        live = await release.client.find("services", release.manifest.name)
        if step := await record_traffic(release, live):
            return step
        if step := await create_revision(release, live):
            return step
        assert live is not None
        if step := await move_traffic(release, live, 100):
            return step
        if step := await delete_old_revisions(release, live):
            return step
    return Done(note=f"All traffic goes to revision {work.shared[release.candidate_key]}")

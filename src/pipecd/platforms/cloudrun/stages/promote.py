"""CLOUDRUN_PROMOTE: the new revision gets a percentage of the traffic. The first one creates the revision."""

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.cloudrun.config import PromoteOptions
from pipecd.platforms.cloudrun.stages.release import (
    create_revision,
    delete_old_revisions,
    move_traffic,
    open_release,
    publish_address,
    record_traffic,
    traffic_before,
)

#: Stage metadata that the console shows, as in PipeCD.
PERCENTAGE = "promote-percentage"


async def cloudrun_promote(work: Work[PromoteOptions]) -> Outcome:
    percent = work.options.percent
    async with open_release(work, await work.checkouts.target()) as release:
        live = await release.client.find("services", release.manifest.name)
        if step := await record_traffic(release, live):
            return step
        if step := await create_revision(release, live):
            return step
        assert live is not None
        if step := await move_traffic(release, live, percent):
            return step
        if percent < 100 and (step := await publish_address(release, live)):
            return step
        if percent >= 100 and (step := await delete_old_revisions(release, live)):
            return step
        name = work.shared[release.candidate_key]
        if not traffic_before(work):
            return Done(
                note=f"Revision {name} is the first one, and receives all traffic", saved={PERCENTAGE: "100"}
            )
    return Done(note=f"Revision {name} receives {percent} % of the traffic", saved={PERCENTAGE: f"{percent}"})

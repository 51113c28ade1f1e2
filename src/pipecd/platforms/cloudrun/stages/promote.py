"""CLOUDRUN_PROMOTE: the new revision gets a percentage of the traffic. The first one creates the revision."""

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.cloudrun.config import PromoteOptions
from pipecd.platforms.cloudrun.stages.release import deploy, open_release, traffic_before

#: Stage metadata that the console shows, as in PipeCD.
PERCENTAGE = "promote-percentage"


async def cloudrun_promote(work: Work[PromoteOptions]) -> Outcome:
    percent = work.options.percent
    async with open_release(work, await work.checkouts.target()) as release:
        if step := await deploy(release, percent):
            return step
    name = work.shared[release.candidate_key]
    if not traffic_before(work):
        note = f"Revision {name} is the first one, and receives all traffic"
        return Done(note=note, saved={PERCENTAGE: "100"})
    return Done(note=f"Revision {name} receives {percent} % of the traffic", saved={PERCENTAGE: f"{percent}"})

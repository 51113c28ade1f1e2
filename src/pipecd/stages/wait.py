"""WAIT: lets some time pass. The time it began is kept, so a restart waits only for the rest."""

from pipecd.config.stages import WaitOptions
from pipecd.model.stage import Again, Done, Outcome, Work

#: Stage metadata, PipeCD's name: epoch seconds.
START_TIME = "startTime"
#: Where the file gives no duration (seconds).
USUAL = 60.0
#: How often the log says that there is still time to go (seconds).
SAY_EVERY = 10.0


async def wait_stage(work: Work[WaitOptions]) -> Outcome:
    duration = work.options.duration.total_seconds() or USUAL
    if START_TIME not in work.saved:
        work.log.info(f"Waiting for {duration:g} s")
        return Again(saved={START_TIME: str(int(work.now))}, note=f"Waits for {duration:g} s")
    left = float(work.saved[START_TIME]) + duration - work.now
    if left <= 0:
        work.log.success(f"Waited for {duration:g} s")
        return Done(note=f"Waited for {duration:g} s")
    if left < duration:
        work.log.info(f"{left:.0f} s to go")
    return Again(after=min(left, SAY_EVERY))

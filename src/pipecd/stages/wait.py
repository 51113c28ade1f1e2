"""WAIT: waits for a duration. The start time is stored, so after a restart only the rest is waited for."""

from pipecd.config.stages import WaitOptions
from pipecd.model.stage import Again, Done, Outcome, Work

#: Key of stage metadata, the same as PipeCD's: epoch seconds.
START_TIME = "startTime"
#: Used if the file sets no duration (seconds).
DEFAULT_DURATION = 60.0
#: A clock that was set back by less is not noticed (seconds).
CLOCK_TOLERANCE = 2.0
#: Interval of the log lines with the remaining time (seconds).
LOG_INTERVAL = 10.0


async def wait_stage(work: Work[WaitOptions]) -> Outcome:
    duration = work.options.duration.total_seconds() or DEFAULT_DURATION
    if START_TIME not in work.saved:
        work.log.info(f"Waiting for {duration:g} s")
        return Again(saved={START_TIME: str(int(work.now))}, note=f"Waiting for {duration:g} s")
    remaining = float(work.saved[START_TIME]) + duration - work.now
    if remaining > duration + CLOCK_TOLERANCE:
        work.log.info("The machine's clock was set back; waiting from now on")
        return Again(saved={START_TIME: str(int(work.now))}, note=f"Waiting for {duration:g} s")
    if remaining <= 0:
        work.log.success(f"Waited for {duration:g} s")
        return Done(note=f"Waited for {duration:g} s")
    if remaining < duration:
        work.log.info(f"{remaining:.0f} s remaining")
    return Again(after=min(remaining, LOG_INTERVAL))

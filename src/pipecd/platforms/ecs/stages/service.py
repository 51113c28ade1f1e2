"""Steps that create, update and wait for the service itself. They change no task set and no traffic."""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed
from pipecd.platforms import aws
from pipecd.platforms.ecs import members
from pipecd.platforms.ecs.autoscaling import autoscaling_enabled
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.members import EXTERNAL
from pipecd.platforms.ecs.stages.job import POLL_INTERVAL, Job, Step

#: Stage metadata.
_APPLIED, _COUNT, _SCALED_DOWN, _WAIT_STARTED = (
    "pipecd/service-applied",
    "pipecd/desired-count",
    "pipecd/scaled-down",
    "pipecd/stable-since",
)
#: Shared metadata: the desired count before `recreate` stopped the tasks.
COUNT_BEFORE = "pipecd/ecs-desired-count"


async def apply_service(job: Job) -> Again | Failed | Service:
    """The service when it matches the file, or the step towards that."""
    live = await get_existing_service(job)
    if isinstance(live, Again):
        return live
    if live is None:
        return await _create(job)
    if job.service.controller and live.controller != job.service.controller:
        raise Refused(
            f"the service {job.service.name} has the deployment controller {live.controller}, which cannot be"
            f" changed to {job.service.controller}",
            remedy=f"set deploymentController.type: {live.controller}, or delete the service first",
        )
    job.desired.require_supported(live.controller)
    if _APPLIED not in job.work.saved:
        fields = await _changes(job, live)
        if fields:
            await job.client.update_service(*job.cluster_and_name, fields)
            job.work.log.info(f"Updated service {job.service.name}: {', '.join(sorted(fields))}")
        return Again(saved={_APPLIED: "true"})
    return await tag_service(job, live) or live


async def get_existing_service(job: Job) -> Again | Service | None:
    """The service; None if it does not exist. Waits while an old one is being deleted."""
    live = await job.client.get_service(*job.cluster_and_name)
    if live and live.status == "DRAINING":
        return Again(after=POLL_INTERVAL, note="Waiting for the old service of this name to be deleted")
    return live


async def _create(job: Job) -> Again:
    if job.service.controller != EXTERNAL:
        raise Refused(
            f"the service {job.service.name} does not exist, and its file sets no deployment controller",
            remedy="set deploymentController.type: EXTERNAL for canaries, or ECS for rolling updates",
        )
    fields = members.creation(job.service.fields, EXTERNAL)
    await job.client.create_service(
        {"desiredCount": 0, **fields, "clientToken": job.idempotency_token}, job.tags
    )
    job.work.log.info(f"Created service {job.service.name}")
    return Again(saved={_APPLIED: "true"}, note=f"Created service {job.service.name}")


async def _changes(job: Job, live: Service) -> dict[str, Any]:
    fields = members.update(job.service.fields, live.fields, EXTERNAL)
    count = await desired_count_change(job, live)
    return fields if count is None else {**fields, "desiredCount": count}


async def desired_count_change(job: Job, live: Service) -> int | None:
    """The desired count to set. None if the file has none, it is already set, or autoscaling controls it."""
    count = job.service.desired_count
    if not count or count == live.desired_count:
        return None
    if await autoscaling_enabled(job.work.provider, *job.cluster_and_name):
        job.work.log.info(f"Autoscaling controls the desired count; keeping it at {live.desired_count}")
        return None
    return count


async def tag_service(job: Job, live: Service) -> Step:
    """One step towards the tags in Git, without stale ones; None when they match."""
    if any(live.tags.get(key) != value for key, value in job.tags.items()):
        await job.client.tag(live.arn, job.tags)
        return Again(note="Updating the tags of the service")
    if stale := aws.stale_tags(live.tags, job.tags):
        await job.client.untag(live.arn, stale)
        return Again(note="Removing tags that are no longer in Git")
    return None


async def scale_down(job: Job, live: Service) -> Step:
    """One step towards stopping all tasks; None when they are stopped. Stores the desired count first."""
    saved = job.work.saved
    if _COUNT not in saved:
        count = str(live.desired_count)
        note = f"Recorded the desired count of {count}"
        return Again(saved={_COUNT: count}, shared={COUNT_BEFORE: count}, note=note)
    if _SCALED_DOWN in saved:
        return None
    if live.desired_count:
        await job.client.update_service(*job.cluster_and_name, {"desiredCount": 0})
        job.work.log.info("Stopping all tasks, because recreate is set")
        return Again(note="Stopping all tasks")
    if live.running or live.pending:
        return Again(after=POLL_INTERVAL, note=f"Waiting for {live.running} tasks to stop")
    return Again(saved={_SCALED_DOWN: "true"})


async def scale_up(job: Job) -> Step:
    """Restores the desired count from before `scale_down`."""
    return await restore_count(job, int(job.work.saved.get(_COUNT, "0")))


async def restore_count(job: Job, count: int) -> Step:
    """Sets the desired count to `count` if it is 0; None when there is nothing to do."""
    live = await job.client.get_service(*job.cluster_and_name)
    if live is None or not count or live.desired_count:
        return None
    await job.client.update_service(*job.cluster_and_name, {"desiredCount": count})
    job.work.log.info(f"Starting {count} tasks again")
    return Again(note=f"Starting {count} tasks")


async def wait_until_stable(job: Job) -> Step:
    """None when all desired tasks run; fails after `STABLE_TIMEOUT`."""
    live = await job.client.get_service(*job.cluster_and_name)
    if live is None:
        return Failed(
            reason=f"the service {job.service.name} was deleted", remedy="sync the application again"
        )
    if not live.pending and live.running >= live.desired_count:
        return None
    if _WAIT_STARTED not in job.work.saved:
        return Again(saved={_WAIT_STARTED: str(job.work.now)}, note="Waiting for all tasks to run")
    if job.wait_timed_out(_WAIT_STARTED):
        running = f"{live.running} of {live.desired_count} tasks are running"
        return Failed(
            reason=f"only {running} after 10 minutes: {live.event}",
            remedy="check the service's events and the stopped reason of its tasks",
        )
    delay = job.poll_delay(_WAIT_STARTED)
    return Again(after=delay, note=f"{live.running} of {live.desired_count} tasks are running")

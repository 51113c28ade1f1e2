"""Steps that make, change and wait for the service itself. No task set and no traffic is touched here."""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed
from pipecd.platforms import aws
from pipecd.platforms.ecs.autoscaling import owns_the_count
from pipecd.platforms.ecs.client import Service
from pipecd.platforms.ecs.source import EXTERNAL
from pipecd.platforms.ecs.stages.job import POLL_SECONDS, Job, Step

#: Members of CreateService that are taken from the file where the task sets have the rest.
_CREATED = (
    "cluster",
    "serviceName",
    "desiredCount",
    "deploymentController",
    "deploymentConfiguration",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "healthCheckGracePeriodSeconds",
    "placementConstraints",
    "placementStrategy",
    "platformVersion",
    "propagateTags",
    "role",
    "schedulingStrategy",
)
#: Members that can change later, and what AWS takes for them when nothing is said.
_CHANGED: dict[str, Any] = {
    "enableExecuteCommand": False,
    "enableECSManagedTags": False,
    "propagateTags": "NONE",
    "placementStrategy": [],
}
#: Stage metadata.
_APPLIED, _COUNT, _DOWN, _STABLE_SINCE = (
    "pipecd/service-applied",
    "pipecd/desired-count",
    "pipecd/scaled-down",
    "pipecd/stable-since",
)
#: Shared metadata: how many tasks there were before `recreate` took them away.
COUNT_BEFORE = "pipecd/ecs-desired-count"


async def applied(job: Job) -> Again | Failed | Service:
    """The service as the file wants it, or the step towards that."""
    live = await existing(job)
    if isinstance(live, Again):
        return live
    if live is None:
        return await _create(job)
    if job.service.controller and live.controller != job.service.controller:
        raise Refused(
            f"the service {job.service.name} has the deployment controller {live.controller}, and the file"
            f" says {job.service.controller}: that cannot be changed",
            remedy=f"write deploymentController.type: {live.controller}, or delete the service first",
        )
    if _APPLIED not in job.work.saved:
        fields = await _changes(job, live)
        if fields:
            await job.ecs.update_service(*job.where, fields)
            job.work.log.info(f"Updated service {job.service.name}: {', '.join(sorted(fields))}")
        return Again(saved={_APPLIED: "true"})
    return await tag(job, live) or live


async def existing(job: Job) -> Again | Service | None:
    """The service; None when there is none. Waits for one that is being deleted."""
    live = await job.ecs.service(*job.where)
    if live and live.status == "DRAINING":
        return Again(after=POLL_SECONDS, note="Waiting until the old service of this name is gone")
    return live


async def _create(job: Job) -> Again:
    if job.service.controller != EXTERNAL:
        raise Refused(
            f"there is no service {job.service.name}, and its deployment controller is not said",
            remedy="write deploymentController.type: EXTERNAL for canaries, or ECS for rolling updates",
        )
    fields = {name: job.service.fields[name] for name in _CREATED if name in job.service.fields}
    await job.ecs.create_service({"desiredCount": 0, **fields, "clientToken": job.mark}, job.tags)
    job.work.log.info(f"Created service {job.service.name}")
    return Again(saved={_APPLIED: "true"}, note=f"Created service {job.service.name}")


async def _changes(job: Job, live: Service) -> dict[str, Any]:
    fields = {
        name: job.service.fields.get(name, default)
        for name, default in _CHANGED.items()
        if live.fields.get(name, default) != job.service.fields.get(name, default)
    }
    count = await count_to_set(job, live)
    return fields if count is None else {**fields, "desiredCount": count}


async def count_to_set(job: Job, live: Service) -> int | None:
    """The file's desired count; None where it says none, where it is so, and where autoscaling decides."""
    count = job.service.desired_count
    if not count or count == live.desired:
        return None
    if await owns_the_count(job.work.provider, *job.where):
        job.work.log.info(f"Autoscaling owns the desired count: it stays at {live.desired}")
        return None
    return count


async def tag(job: Job, live: Service) -> Step:
    """The tags that Git asks for, and none that the agent gave before; None once it is so."""
    if any(live.tags.get(key) != value for key, value in job.tags.items()):
        await job.ecs.tag(live.arn, job.tags)
        return Again(note="Tagging the service")
    if stale := aws.stale_tags(live.tags, job.tags):
        await job.ecs.untag(live.arn, stale)
        return Again(note="Removing tags that Git no longer has")
    return None


async def scaled_down(job: Job, live: Service) -> Step:
    """No task of the service is left. How many there were is remembered first."""
    saved = job.work.saved
    if _COUNT not in saved:
        count = str(live.desired)
        return Again(saved={_COUNT: count}, shared={COUNT_BEFORE: count}, note=f"There are {count} tasks")
    if _DOWN in saved:
        return None
    if live.desired:
        await job.ecs.update_service(*job.where, {"desiredCount": 0})
        job.work.log.info("Stopping all tasks, as recreate asks for")
        return Again(note="Stopping all tasks")
    if live.running or live.pending:
        return Again(after=POLL_SECONDS, note=f"Waiting until {live.running} tasks have stopped")
    return Again(saved={_DOWN: "true"})


async def scaled_up(job: Job) -> Step:
    """As many tasks as there were before `scaled_down`."""
    return await with_count(job, int(job.work.saved.get(_COUNT, "0")))


async def with_count(job: Job, count: int) -> Step:
    live = await job.ecs.service(*job.where)
    if live is None or not count or live.desired:
        return None
    await job.ecs.update_service(*job.where, {"desiredCount": count})
    job.work.log.info(f"Starting {count} tasks again")
    return Again(note=f"Starting {count} tasks")


async def stable(job: Job) -> Step:
    """Every task that is wanted runs."""
    live = await job.ecs.service(*job.where)
    if live is None:
        return Failed(reason=f"the service {job.service.name} is gone", remedy="sync the application again")
    if not live.pending and live.running >= live.desired:
        return None
    if _STABLE_SINCE not in job.work.saved:
        return Again(saved={_STABLE_SINCE: str(job.work.now)}, note="Waiting until all tasks run")
    if job.waited_too_long(_STABLE_SINCE):
        return Failed(
            reason=f"only {live.running} of {live.desired} tasks run after 10 minutes: {live.event}",
            remedy="look at the events of the service and at why its tasks stopped",
        )
    return Again(after=POLL_SECONDS, note=f"{live.running} of {live.desired} tasks run")

"""Applications without a service: a task definition is registered, and one task of it is started."""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.ecs.client import Ecs
from pipecd.platforms.ecs.source import Desired
from pipecd.platforms.ecs.stages.job import mark, registered, revision_tags


async def started(work: Work[Any], ecs: Ecs, wanted: Desired, commit: str) -> Outcome:
    """Registers, and starts the task where the file asks for it."""
    revision = await registered(work, ecs, wanted.task, commit)
    if isinstance(revision, Again):
        return revision
    given = wanted.input
    if not given.run_standalone_task:
        return Done(note=f"Registered {revision.rsplit('/', 1)[-1]}")
    if not given.cluster_arn:
        raise Refused("there is no cluster to run the task in", remedy="write input.clusterArn")
    running = await ecs.started(given.cluster_arn, mark(work))
    if running:
        return Done(note=f"Task {running[0].rsplit('/', 1)[-1]} was started")
    arn = await ecs.run_task(_fields(work, wanted, revision), revision_tags(work, commit))
    work.log.success(f"Started task {arn.rsplit('/', 1)[-1]}")
    return Done(note=f"Task {arn.rsplit('/', 1)[-1]} was started")


def _fields(work: Work[Any], wanted: Desired, revision: str) -> dict[str, Any]:
    given, network = wanted.input, wanted.input.awsvpc_configuration
    fields: dict[str, Any] = {
        "cluster": given.cluster_arn,
        "taskDefinition": revision,
        "launchType": given.launch_type,
        "count": 1,
        "startedBy": mark(work),
        "clientToken": mark(work),
    }
    if not network.subnets:
        return fields
    vpc: dict[str, Any] = {"subnets": list(network.subnets)}
    if network.security_groups:
        vpc["securityGroups"] = list(network.security_groups)
    if network.assign_public_ip:
        vpc["assignPublicIp"] = network.assign_public_ip
    return {**fields, "networkConfiguration": {"awsvpcConfiguration": vpc}}

"""Applications without a service: registers a task definition and starts one task of it."""

from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.ecs.client import EcsClient
from pipecd.platforms.ecs.source import DesiredState
from pipecd.platforms.ecs.stages.job import idempotency_token, register_task_definition, revision_tags


async def run_standalone_task(
    work: Work[Any], client: EcsClient, desired: DesiredState, commit: str
) -> Outcome:
    """Registers the task definition, and starts a task if `runStandaloneTask` is set."""
    revision = await register_task_definition(work, client, desired.task, commit)
    if isinstance(revision, Again):
        return revision
    app_input = desired.input
    if not app_input.run_standalone_task:
        return Done(note=f"Registered {revision.rsplit('/', 1)[-1]}")
    if not app_input.cluster_arn:
        raise Refused("no cluster is configured for the task", remedy="set input.clusterArn")
    running = await client.list_tasks_started_by(app_input.cluster_arn, idempotency_token(work))
    if running:
        return Done(note=f"Started task {running[0].rsplit('/', 1)[-1]}")
    arn = await client.run_task(
        _run_task_request(work, desired, revision), revision_tags(work, desired.task, commit)
    )
    work.log.success(f"Started task {arn.rsplit('/', 1)[-1]}")
    return Done(note=f"Started task {arn.rsplit('/', 1)[-1]}")


def _run_task_request(work: Work[Any], desired: DesiredState, revision: str) -> dict[str, Any]:
    app_input, network = desired.input, desired.input.awsvpc_configuration
    fields: dict[str, Any] = {
        "cluster": app_input.cluster_arn,
        "taskDefinition": revision,
        "launchType": app_input.launch_type,
        "count": 1,
        "startedBy": idempotency_token(work),
        "clientToken": idempotency_token(work),
    }
    if not network.subnets:
        return fields
    vpc: dict[str, Any] = {"subnets": list(network.subnets)}
    if network.security_groups:
        vpc["securityGroups"] = list(network.security_groups)
    if network.assign_public_ip:
        vpc["assignPublicIp"] = network.assign_public_ip
    return {**fields, "networkConfiguration": {"awsvpcConfiguration": vpc}}

"""Client of the ECS API: one operation per method, responses as values. The stages make the decisions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.errors import NotFound, Refused
from pipecd.platforms import aws


@dataclass(frozen=True, kw_only=True)
class Service:
    """The live service. `status` is AWS's value (ACTIVE, DRAINING)."""

    arn: str
    status: str
    controller: str
    task_definition: str
    desired_count: int
    running: int
    pending: int
    tags: Mapping[str, str]
    #: `rolloutState` of ECS's own deployment, if ECS replaces the tasks.
    rollout: str
    rollout_reason: str
    #: The newest service event.
    event: str
    fields: Mapping[str, Any]

    @property
    def has_task_sets(self) -> bool:
        """False if ECS itself replaces the tasks."""
        return self.controller != "ECS"


@dataclass(frozen=True, kw_only=True)
class TaskSet:
    """`external_id` is the idempotency token of the stage that created it."""

    arn: str
    status: str
    external_id: str
    task_definition: str
    steady: bool
    target_groups: Sequence[str]
    tags: Mapping[str, str]

    @property
    def managed_by_piped(self) -> bool:
        return self.tags.get(aws.MANAGED_BY) == "piped"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A registered task definition."""

    arn: str
    tags: Mapping[str, str]


@asynccontextmanager
async def connect(provider: aws.AwsProvider) -> AsyncIterator["EcsClient"]:
    async with aws.client("ecs", provider) as sdk:
        yield EcsClient(sdk)


class EcsClient:
    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    async def get_latest_revision(self, family: str) -> Revision | None:
        """The newest revision of a family."""
        try:
            with aws.translate_errors("ecs"):
                response = await self._sdk.describe_task_definition(taskDefinition=family, include=["TAGS"])
        except NotFound:
            return None
        return Revision(
            arn=response["taskDefinition"]["taskDefinitionArn"],
            tags=_from_tag_list(response.get("tags") or []),
        )

    async def register_task_definition(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        with aws.translate_errors("ecs"):
            response = await self._sdk.register_task_definition(**fields, tags=_to_tag_list(tags))
        return str(response["taskDefinition"]["taskDefinitionArn"])

    async def deregister_task_definition(self, revision: str) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.deregister_task_definition(taskDefinition=revision)

    async def get_service(self, cluster: str, name: str) -> Service | None:
        """None if it does not exist or was deleted."""
        with aws.translate_errors("ecs"):
            response = await self._sdk.describe_services(cluster=cluster, services=[name], include=["TAGS"])
        services = [service for service in response["services"] if service["status"] != "INACTIVE"]
        return _service(services[0]) if services else None

    async def create_service(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.create_service(**fields, tags=_to_tag_list(tags))

    async def update_service(self, cluster: str, name: str, fields: Mapping[str, Any]) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.update_service(cluster=cluster, service=name, **fields)

    async def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.tag_resource(resourceArn=arn, tags=_to_tag_list(tags))

    async def untag(self, arn: str, keys: Sequence[str]) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.untag_resource(resourceArn=arn, tagKeys=list(keys))

    async def list_task_sets(self, cluster: str, service: str) -> Sequence[TaskSet]:
        """Every task set that is not draining. The API call has no pagination."""
        with aws.translate_errors("ecs"):
            response = await self._sdk.describe_task_sets(cluster=cluster, service=service, include=["TAGS"])
        return [_task_set(task_set) for task_set in response["taskSets"] if task_set["status"] != "DRAINING"]

    async def describe_task_sets(self, cluster: str, service: str) -> Sequence[Mapping[str, Any]]:
        """Every task set in AWS's form, including draining ones."""
        with aws.translate_errors("ecs"):
            response = await self._sdk.describe_task_sets(cluster=cluster, service=service)
        return list(response["taskSets"])

    async def get_task_definition(self, revision: str) -> Mapping[str, Any]:
        """The task definition with the ARN `revision`, in AWS's form."""
        with aws.translate_errors("ecs"):
            response = await self._sdk.describe_task_definition(taskDefinition=revision)
        task_definition: Mapping[str, Any] = response["taskDefinition"]
        return task_definition

    async def list_tasks(self, cluster: str, service: str) -> Sequence[Mapping[str, Any]]:
        """The service's tasks that run or are starting, in AWS's form."""
        tasks: list[Mapping[str, Any]] = []
        with aws.translate_errors("ecs"):
            pages = self._sdk.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service)
            async for page in pages:
                if page["taskArns"]:
                    response = await self._sdk.describe_tasks(cluster=cluster, tasks=page["taskArns"])
                    tasks += response["tasks"]
        return tasks

    async def create_task_set(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.create_task_set(**fields, tags=_to_tag_list(tags))

    async def make_primary(self, cluster: str, service: str, task_set: str) -> None:
        with aws.translate_errors("ecs"):
            await self._sdk.update_service_primary_task_set(
                cluster=cluster, service=service, primaryTaskSet=task_set
            )

    async def delete_task_set(self, cluster: str, service: str, task_set: str) -> None:
        """Succeeds if the task set does not exist any more."""
        try:
            with aws.translate_errors("ecs"):
                await self._sdk.delete_task_set(
                    cluster=cluster, service=service, taskSet=task_set, force=True
                )
        except NotFound:
            return

    async def run_task(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """The task's ARN. Raises Refused when ECS cannot place it."""
        with aws.translate_errors("ecs"):
            response = await self._sdk.run_task(**fields, tags=_to_tag_list(tags))
        if not response["tasks"]:
            reasons = "; ".join(failure.get("reason", "") for failure in response.get("failures") or [])
            raise Refused(f"ECS did not start the task: {reasons}", remedy="check the cluster's capacity")
        return str(response["tasks"][0]["taskArn"])

    async def list_tasks_started_by(self, cluster: str, started_by: str) -> Sequence[str]:
        """ARNs of the tasks with this `startedBy`, including recently stopped ones."""
        arns: list[str] = []
        with aws.translate_errors("ecs"):
            for status in ("RUNNING", "STOPPED"):
                pages = self._sdk.get_paginator("list_tasks").paginate(
                    cluster=cluster, startedBy=started_by, desiredStatus=status
                )
                async for page in pages:
                    arns += page["taskArns"]
        return arns


def _service(live: Mapping[str, Any]) -> Service:
    deployments = live.get("deployments") or []
    primary = [deployment for deployment in deployments if deployment.get("status") == "PRIMARY"]
    rollout = primary[0] if primary else {}
    events = live.get("events") or []
    return Service(
        arn=live["serviceArn"],
        status=live["status"],
        controller=(live.get("deploymentController") or {}).get("type", "ECS"),
        task_definition=live.get("taskDefinition") or "",
        desired_count=int(live.get("desiredCount", 0)),
        running=int(live.get("runningCount", 0)),
        pending=int(live.get("pendingCount", 0)),
        tags=_from_tag_list(live.get("tags") or []),
        rollout=rollout.get("rolloutState", ""),
        rollout_reason=rollout.get("rolloutStateReason", ""),
        event=events[0].get("message", "") if events else "",
        fields=live,
    )


def _task_set(live: Mapping[str, Any]) -> TaskSet:
    return TaskSet(
        arn=live["taskSetArn"],
        status=live["status"],
        external_id=live.get("externalId") or "",
        task_definition=live.get("taskDefinition") or "",
        steady=live.get("stabilityStatus") == "STEADY_STATE",
        target_groups=[
            balancer["targetGroupArn"]
            for balancer in live.get("loadBalancers") or []
            if "targetGroupArn" in balancer
        ],
        tags=_from_tag_list(live.get("tags") or []),
    )


def _to_tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def _from_tag_list(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {row["key"]: row.get("value", "") for row in rows}

"""Talking to ECS: one call each, answers as values. Deciding is left to the stages."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.errors import NotFound, Refused
from pipecd.platforms import aws


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service as AWS sees it now; `status` is AWS's word (ACTIVE, DRAINING)."""

    arn: str
    status: str
    controller: str
    task_definition: str
    desired: int
    running: int
    pending: int
    tags: Mapping[str, str]
    #: How ECS itself gets on (`rolloutState`), where it is the one who replaces tasks.
    rollout: str
    rollout_reason: str
    #: The newest of what ECS says happened.
    event: str
    fields: Mapping[str, Any]

    @property
    def has_task_sets(self) -> bool:
        """Where ECS itself replaces the tasks there are none."""
        return self.controller != "ECS"


@dataclass(frozen=True, kw_only=True)
class TaskSet:
    """`mark` is the token's, by which the stage that made it finds it again."""

    arn: str
    status: str
    mark: str
    task_definition: str
    steady: bool
    target_groups: Sequence[str]
    tags: Mapping[str, str]

    @property
    def ours(self) -> bool:
        return self.tags.get(aws.MANAGED_BY) == "piped"


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A registered task definition."""

    arn: str
    tags: Mapping[str, str]


@asynccontextmanager
async def connect(provider: aws.AwsProvider) -> AsyncIterator["Ecs"]:
    async with aws.client("ecs", provider) as sdk:
        yield Ecs(sdk)


class Ecs:
    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk

    async def latest(self, family: str) -> Revision | None:
        """The newest revision of a family."""
        try:
            with aws.errors_in_our_words("ecs"):
                answer = await self._sdk.describe_task_definition(taskDefinition=family, include=["TAGS"])
        except NotFound:
            return None
        return Revision(
            arn=answer["taskDefinition"]["taskDefinitionArn"], tags=_mapping(answer.get("tags") or [])
        )

    async def register(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        with aws.errors_in_our_words("ecs"):
            answer = await self._sdk.register_task_definition(**fields, tags=_rows(tags))
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    async def deregister(self, revision: str) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.deregister_task_definition(taskDefinition=revision)

    async def service(self, cluster: str, name: str) -> Service | None:
        """None where there is none, or where it was deleted."""
        with aws.errors_in_our_words("ecs"):
            answer = await self._sdk.describe_services(cluster=cluster, services=[name], include=["TAGS"])
        live = [one for one in answer["services"] if one["status"] != "INACTIVE"]
        return _service(live[0]) if live else None

    async def create_service(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.create_service(**fields, tags=_rows(tags))

    async def update_service(self, cluster: str, name: str, fields: Mapping[str, Any]) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.update_service(cluster=cluster, service=name, **fields)

    async def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.tag_resource(resourceArn=arn, tags=_rows(tags))

    async def untag(self, arn: str, keys: Sequence[str]) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.untag_resource(resourceArn=arn, tagKeys=list(keys))

    async def task_sets(self, cluster: str, service: str) -> Sequence[TaskSet]:
        """Every task set that is not on its way out. The call has no pages."""
        with aws.errors_in_our_words("ecs"):
            answer = await self._sdk.describe_task_sets(cluster=cluster, service=service, include=["TAGS"])
        return [_task_set(one) for one in answer["taskSets"] if one["status"] != "DRAINING"]

    async def every_task_set(self, cluster: str, service: str) -> Sequence[Mapping[str, Any]]:
        """As AWS tells them, also those on their way out."""
        with aws.errors_in_our_words("ecs"):
            answer = await self._sdk.describe_task_sets(cluster=cluster, service=service)
        return list(answer["taskSets"])

    async def definition(self, revision: str) -> Mapping[str, Any]:
        """What was registered under an ARN."""
        with aws.errors_in_our_words("ecs"):
            answer = await self._sdk.describe_task_definition(taskDefinition=revision)
        found: Mapping[str, Any] = answer["taskDefinition"]
        return found

    async def tasks(self, cluster: str, service: str) -> Sequence[Mapping[str, Any]]:
        """The service's tasks that run, or are on their way there."""
        found: list[Mapping[str, Any]] = []
        with aws.errors_in_our_words("ecs"):
            pages = self._sdk.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service)
            async for page in pages:
                if page["taskArns"]:
                    answer = await self._sdk.describe_tasks(cluster=cluster, tasks=page["taskArns"])
                    found += answer["tasks"]
        return found

    async def create_task_set(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.create_task_set(**fields, tags=_rows(tags))

    async def make_primary(self, cluster: str, service: str, task_set: str) -> None:
        with aws.errors_in_our_words("ecs"):
            await self._sdk.update_service_primary_task_set(
                cluster=cluster, service=service, primaryTaskSet=task_set
            )

    async def delete_task_set(self, cluster: str, service: str, task_set: str) -> None:
        """Deleting what is gone already is well done."""
        try:
            with aws.errors_in_our_words("ecs"):
                await self._sdk.delete_task_set(
                    cluster=cluster, service=service, taskSet=task_set, force=True
                )
        except NotFound:
            return

    async def run_task(self, fields: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """The task's ARN. Raises Refused when ECS cannot place it."""
        with aws.errors_in_our_words("ecs"):
            answer = await self._sdk.run_task(**fields, tags=_rows(tags))
        if not answer["tasks"]:
            reasons = "; ".join(one.get("reason", "") for one in answer.get("failures") or [])
            raise Refused(f"ECS did not start the task: {reasons}", remedy="look at the cluster's capacity")
        return str(answer["tasks"][0]["taskArn"])

    async def started(self, cluster: str, by: str) -> Sequence[str]:
        """Tasks that were started under a mark, those that ended lately too."""
        found: list[str] = []
        with aws.errors_in_our_words("ecs"):
            for status in ("RUNNING", "STOPPED"):
                pages = self._sdk.get_paginator("list_tasks").paginate(
                    cluster=cluster, startedBy=by, desiredStatus=status
                )
                async for page in pages:
                    found += page["taskArns"]
        return found


def _service(live: Mapping[str, Any]) -> Service:
    deployments = [one for one in live.get("deployments") or [] if one.get("status") == "PRIMARY"]
    rollout = deployments[0] if deployments else {}
    events = live.get("events") or []
    return Service(
        arn=live["serviceArn"],
        status=live["status"],
        controller=(live.get("deploymentController") or {}).get("type", "ECS"),
        task_definition=live.get("taskDefinition") or "",
        desired=int(live.get("desiredCount", 0)),
        running=int(live.get("runningCount", 0)),
        pending=int(live.get("pendingCount", 0)),
        tags=_mapping(live.get("tags") or []),
        rollout=rollout.get("rolloutState", ""),
        rollout_reason=rollout.get("rolloutStateReason", ""),
        event=events[0].get("message", "") if events else "",
        fields=live,
    )


def _task_set(live: Mapping[str, Any]) -> TaskSet:
    return TaskSet(
        arn=live["taskSetArn"],
        status=live["status"],
        mark=live.get("externalId") or "",
        task_definition=live.get("taskDefinition") or "",
        steady=live.get("stabilityStatus") == "STEADY_STATE",
        target_groups=[
            one["targetGroupArn"] for one in live.get("loadBalancers") or [] if "targetGroupArn" in one
        ],
        tags=_mapping(live.get("tags") or []),
    )


def _rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def _mapping(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {row["key"]: row.get("value", "") for row in rows}

"""The argument of every step: the stage's work, the AWS client, and the desired state."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed, Source, Work
from pipecd.platforms import aws
from pipecd.platforms.ecs.client import EcsClient, connect
from pipecd.platforms.ecs.pipeline import find_fault, no_service
from pipecd.platforms.ecs.source import DesiredState, ServiceDefinition, TaskDefinition, load_desired_state

#: Tag of a task definition: the idempotency token of the stage that registered it.
TOKEN_TAG = "pipecd-dev-mark"
#: Stage metadata: the revision that this stage registered.
REVISION = "pipecd/revision"
#: Longest polling interval (seconds): ECS may take minutes.
POLL_INTERVAL = 10.0
#: How long a service or a task set may take to become stable (seconds).
STABLE_TIMEOUT = 600.0

#: Result of a step: what it did, or its failure. None if there was nothing to do.
Step = Again | Failed | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """`commit` is the commit to deploy; for a rollback the running one."""

    work: Work[Any]
    client: EcsClient
    desired: DesiredState
    service: ServiceDefinition
    commit: str

    @property
    def idempotency_token(self) -> str:
        return idempotency_token(self.work)

    @property
    def tags(self) -> dict[str, str]:
        return aws.resource_tags(
            piped=self.work.deployment.piped_id,
            application=self.work.application.id,
            commit=self.commit,
            user_tags=self.service.tags,
        )

    @property
    def cluster_and_name(self) -> tuple[str, str]:
        """The first two arguments of most client methods."""
        return self.service.cluster, self.service.name

    def wait_timed_out(self, key: str) -> bool:
        """Whether the wait that started at the time in `saved[key]` exceeds `STABLE_TIMEOUT`."""
        started = float(self.work.saved.get(key, self.work.now))
        return self.work.now - started > STABLE_TIMEOUT

    def poll_delay(self, key: str) -> float:
        """Seconds until the next check of what is awaited since the time in `saved[key]`."""
        started = float(self.work.saved.get(key, self.work.now))
        return aws.poll_delay(self.work.now - started, POLL_INTERVAL)


@asynccontextmanager
async def service_job(work: Work[Any], source: Source, *, deployed: bool = False) -> AsyncIterator[Job]:
    """The job of a stage that requires a service. Raises Refused if the stage cannot deploy the application.

    `deployed`: the files were deployed before.
    """
    desired = load_desired_state(source, deployed=deployed)
    service, fault = desired.service, find_fault(work.stage.name, desired.input)
    if fault or service is None:
        fault = fault or no_service(work.stage.name)
        raise Refused(fault.what, remedy=fault.remedy)
    async with connect(work.provider) as client:
        yield Job(work=work, client=client, desired=desired, service=service, commit=source.commit)


def idempotency_token(work: Work[Any]) -> str:
    """`work.token` as 32 hexadecimal digits, which fits every AWS field that it is used in."""
    return hashlib.sha256(work.token.encode()).hexdigest()[:32]


def revision_tags(work: Work[Any], task: TaskDefinition, commit: str) -> dict[str, str]:
    """The tags of a task definition that this stage registers, and of a standalone task."""
    return aws.resource_tags(
        piped=work.deployment.piped_id,
        application=work.application.id,
        commit=commit,
        user_tags={**task.tags, TOKEN_TAG: idempotency_token(work)},
    )


async def register_task_definition(
    work: Work[Any], client: EcsClient, task: TaskDefinition, commit: str
) -> Again | str:
    """The ARN of the revision, which this stage registers only once."""
    if arn := work.saved.get(REVISION):
        return arn
    latest = await client.get_latest_revision(task.family)
    if latest and latest.tags.get(TOKEN_TAG) == idempotency_token(work):
        return Again(saved={REVISION: latest.arn}, note="Found the revision registered earlier by this stage")
    arn = await client.register_task_definition(task.fields, revision_tags(work, task, commit))
    name = arn.rsplit("/", 1)[-1]
    work.log.info(f"Registered task definition {name}")
    return Again(saved={REVISION: arn}, note=f"Registered {name}")

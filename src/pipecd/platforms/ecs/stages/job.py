"""What every step is given: the stage's work, the connection, and what is to be deployed."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.errors import Refused
from pipecd.model.stage import Again, Failed, Source, Work
from pipecd.platforms import aws
from pipecd.platforms.ecs.client import Ecs, connect
from pipecd.platforms.ecs.source import Desired, ServiceDefinition, TaskDefinition, desired

#: Tag of a task definition: the mark of the stage that registered it.
MARK = "pipecd-dev-mark"
#: Stage metadata: the revision that this stage registered.
REVISION = "pipecd/revision"
#: ECS needs minutes; asking more often tells nothing sooner.
POLL_SECONDS = 10.0
#: How long a service or a task set may take to become stable.
PATIENCE_SECONDS = 600.0

#: What a step answers: what it did, or that it failed. None: there was nothing to do.
Step = Again | Failed | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """`commit` is the one that is deployed: a rollback's is the running one."""

    work: Work[Any]
    ecs: Ecs
    wanted: Desired
    service: ServiceDefinition
    commit: str

    @property
    def mark(self) -> str:
        return mark(self.work)

    @property
    def tags(self) -> dict[str, str]:
        return aws.tags(
            piped=self.work.deployment.piped_id,
            application=self.work.application.id,
            commit=self.commit,
            own=self.service.tags,
        )

    @property
    def where(self) -> tuple[str, str]:
        """The cluster and the service's name, as most calls want them."""
        return self.service.cluster, self.service.name

    def waited_too_long(self, key: str) -> bool:
        """Whether the wait that began at the time in `saved[key]` has lost its patience."""
        began = float(self.work.saved.get(key, self.work.now))
        return self.work.now - began > PATIENCE_SECONDS


@asynccontextmanager
async def service_job(work: Work[Any], source: Source) -> AsyncIterator[Job]:
    """The job of a stage that works on a service. Raises Refused for a standalone task."""
    wanted = desired(source)
    if wanted.service is None:
        raise Refused(
            f"{work.stage.name} needs a service, and this is a standalone task",
            remedy="write input.serviceDefinitionFile, or deploy by ECS_SYNC alone",
        )
    async with connect(work.provider) as ecs:
        yield Job(work=work, ecs=ecs, wanted=wanted, service=wanted.service, commit=source.commit)


def mark(work: Work[Any]) -> str:
    """The token in letters and digits, and short enough for every field of AWS's that it goes into."""
    return hashlib.sha256(work.token.encode()).hexdigest()[:32]


def revision_tags(work: Work[Any], commit: str) -> dict[str, str]:
    """The tags of a task definition that this stage registers."""
    own = {MARK: mark(work)}
    return aws.tags(piped=work.deployment.piped_id, application=work.application.id, commit=commit, own=own)


async def registered(work: Work[Any], ecs: Ecs, task: TaskDefinition, commit: str) -> Again | str:
    """The ARN of the task definition's revision, registered once by this stage."""
    if arn := work.saved.get(REVISION):
        return arn
    latest = await ecs.latest(task.family)
    if latest and latest.tags.get(MARK) == mark(work):
        return Again(saved={REVISION: latest.arn}, note="Found the revision that was registered before")
    arn = await ecs.register(task.fields, revision_tags(work, commit))
    name = arn.rsplit("/", 1)[-1]
    work.log.info(f"Registered task definition {name}")
    return Again(saved={REVISION: arn}, note=f"Registered {name}")

"""A deployment: one attempt to bring an application to a commit.

`model.progress` determines the next step of a `Deployment` and returns the updated value after it. The
control plane stores the wire's record of it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from pipecd.model.application import GitPath
from pipecd.model.status import DeploymentStatus, StageStatus


class SyncStrategy(IntEnum):
    AUTO = 0
    QUICK_SYNC = 1
    PIPELINE = 2


class TriggerKind(IntEnum):
    ON_COMMIT = 0
    ON_COMMAND = 1
    ON_OUT_OF_SYNC = 2
    ON_CHAIN = 3


class ManualOperation(IntEnum):
    """The manual operation that a running stage accepts."""

    UNKNOWN = 0
    SKIP = 1
    APPROVE = 2
    NONE = 3


class VersionKind(IntEnum):
    UNKNOWN = 0
    CONTAINER_IMAGE = 1
    S3_OBJECT = 2
    GIT_SOURCE = 3
    TERRAFORM_MODULE = 4


@dataclass(frozen=True, kw_only=True)
class Commit:
    """`created_at` is seconds since the epoch."""

    hash: str
    message: str
    author: str
    branch: str
    created_at: int
    url: str = ""
    pull_request: int = 0


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """The cause of a deployment. `commander` is empty if no user requested it; times are epoch seconds."""

    commit: Commit
    timestamp: int
    commander: str = ""
    strategy: SyncStrategy = SyncStrategy.AUTO
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Version:
    """The version of a deployed artifact, for display."""

    kind: VersionKind
    version: str
    name: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a pipeline. `metadata` holds the stage's saved state and values for display."""

    id: str
    name: str
    index: int
    desc: str = ""
    requires: Sequence[str] = ()
    visible: bool = True
    rollback: bool = False
    #: Added by the planner, not configured in the pipeline.
    predefined: bool = False
    status: StageStatus = StageStatus.NOT_STARTED
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    completed_at: int = 0
    created_at: int = 0
    operation: ManualOperation = ManualOperation.NONE
    approvers: Sequence[str] = ()


#: The trailer of a commit that the event watcher made, with the source commit that caused the event.
TRACE_TRAILER = "Pipecd-Dev-Trace-Trigger-Commit-Hash"
_TRACE = re.compile(rf"^{TRACE_TRAILER}: *([0-9a-zA-Z]{{1,64}}) *$", re.IGNORECASE | re.MULTILINE)


#: Source commits of one deployment.
MAX_TRACE_COMMITS = 50


def find_trace_commits(messages: Iterable[str]) -> tuple[str, ...]:
    """The source commits that the last paragraphs of commits' messages name, each once.

    `messages` begin with the newest, and so does the result.
    """
    paragraphs = (message.strip().rpartition("\n\n")[2] for message in messages)
    names = (str(name) for paragraph in paragraphs for name in reversed(_TRACE.findall(paragraph)))
    return tuple(dict.fromkeys(names))[:MAX_TRACE_COMMITS]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    id: str
    application_id: str
    application_name: str
    piped_id: str
    project_id: str
    #: The application's kind.
    kind: str
    git_path: GitPath
    trigger: Trigger
    platform_provider: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    status: DeploymentStatus = DeploymentStatus.PENDING
    reason: str = ""
    summary: str = ""
    versions: Sequence[Version] = ()
    #: The commit of the last successful deployment; empty if there was none.
    running_commit: str = ""
    running_config_filename: str = ""
    stages: Sequence[Stage] = ()
    #: Values that stages share with each other (the wire's shared metadata).
    shared: Mapping[str, str] = field(default_factory=dict)
    chain_id: str = ""
    chain_block: int = 0
    #: Source commits that caused the deployment; see `find_trace_commits`.
    trace_commits: Sequence[str] = ()
    created_at: int = 0
    completed_at: int = 0

    def stage(self, stage_id: str) -> Stage:
        return next(stage for stage in self.stages if stage.id == stage_id)

    def with_stage(self, changed: Stage) -> "Deployment":
        stages = tuple(changed if stage.id == changed.id else stage for stage in self.stages)
        return replace(self, stages=stages)

"""Commands for an agent, from people and programs.

One type per command, with exactly the fields that the command has. `wire` decodes them from the control
plane's records; `piped` answers each with SUCCEEDED or FAILED.
"""

from dataclasses import dataclass

from pipecd.model.deployment import SyncStrategy


@dataclass(frozen=True, kw_only=True)
class _Command:
    id: str
    #: The requester: a user name, an API key's id or a chain's id.
    commander: str
    created_at: int = 0
    #: The span of the request (`traceparent`); empty without one.
    trace_parent: str = ""


@dataclass(frozen=True, kw_only=True)
class SyncApplication(_Command):
    """Deploy the application's head commit."""

    application_id: str
    strategy: SyncStrategy = SyncStrategy.AUTO


@dataclass(frozen=True, kw_only=True)
class ChainSyncApplication(_Command):
    """Deploy the application's head commit as a node of block `block` of a chain."""

    application_id: str
    chain_id: str
    block: int
    strategy: SyncStrategy = SyncStrategy.AUTO


@dataclass(frozen=True, kw_only=True)
class RollBackApplication(_Command):
    """Deploy the commit that the earlier deployment `target_id` deployed."""

    application_id: str
    target_id: str
    strategy: SyncStrategy = SyncStrategy.AUTO
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CancelDeployment(_Command):
    """Cancel the deployment; `rollback` None means as planned.

    `rejected_stage_id` is the stage at which the user rejected it, with a comment; empty for a mere cancel.
    """

    deployment_id: str
    rollback: bool | None = None
    rejected_stage_id: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class ApproveStage(_Command):
    deployment_id: str
    stage_id: str
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class SkipStage(_Command):
    deployment_id: str
    stage_id: str


@dataclass(frozen=True, kw_only=True)
class BuildPlanPreview(_Command):
    """Preview the changes of merging `head_commit` into `base_branch`. `timeout`: seconds, 0: default."""

    repository_id: str
    head_branch: str
    head_commit: str
    base_branch: str
    timeout: int = 0


@dataclass(frozen=True, kw_only=True)
class RestartAgent(_Command):
    """Answer, then exit with code 0; the process supervisor starts the agent again."""


@dataclass(frozen=True, kw_only=True)
class UnknownCommand(_Command):
    """A command that this version of the agent does not support. `kind` is its name on the wire."""

    kind: str


Command = (
    SyncApplication
    | ChainSyncApplication
    | RollBackApplication
    | CancelDeployment
    | ApproveStage
    | SkipStage
    | BuildPlanPreview
    | RestartAgent
    | UnknownCommand
)

"""What people and programs ask of an agent, as values.

One type a question, so that a reader of a command has exactly the facts that belong to it. `wire`
makes them of the control plane's records; `piped` answers each with SUCCEEDED or FAILED.
"""

from dataclasses import dataclass

from pipecd.model.deployment import SyncStrategy


@dataclass(frozen=True, kw_only=True)
class _Asked:
    id: str
    #: Who asked: a person's name, an API key's id or a chain's id.
    commander: str
    created_at: int = 0


@dataclass(frozen=True, kw_only=True)
class SyncApplication(_Asked):
    """Deploy the application's head commit."""

    application_id: str
    strategy: SyncStrategy = SyncStrategy.AUTO


@dataclass(frozen=True, kw_only=True)
class ChainSyncApplication(_Asked):
    """Deploy the application's head commit as a node of block `block` of a chain."""

    application_id: str
    chain_id: str
    block: int
    strategy: SyncStrategy = SyncStrategy.AUTO


@dataclass(frozen=True, kw_only=True)
class CancelDeployment(_Asked):
    """End the deployment; `rollback` None leaves it to its plan."""

    deployment_id: str
    rollback: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ApproveStage(_Asked):
    deployment_id: str
    stage_id: str


@dataclass(frozen=True, kw_only=True)
class SkipStage(_Asked):
    deployment_id: str
    stage_id: str


@dataclass(frozen=True, kw_only=True)
class BuildPlanPreview(_Asked):
    """Tell what merging `head_commit` into `base_branch` would change. `timeout` in seconds, 0: as usual."""

    repository_id: str
    head_branch: str
    head_commit: str
    base_branch: str
    timeout: int = 0


@dataclass(frozen=True, kw_only=True)
class RestartAgent(_Asked):
    """Answer, then end with exit code 0: whoever started the agent starts it again."""


@dataclass(frozen=True, kw_only=True)
class UnknownCommand(_Asked):
    """Something this version of the agent cannot do. `kind` is the wire's name of it."""

    kind: str


Command = (
    SyncApplication
    | ChainSyncApplication
    | CancelDeployment
    | ApproveStage
    | SkipStage
    | BuildPlanPreview
    | RestartAgent
    | UnknownCommand
)

"""Applications and their location in Git."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from pipecd.model.status import SyncStatus


class ApplicationKind(IntEnum):
    """The platform of an application. The name is also the key of the platform's entry point."""

    KUBERNETES = 0
    TERRAFORM = 1
    LAMBDA = 3
    CLOUDRUN = 4
    ECS = 5


DEFAULT_CONFIG_FILENAME = "app.pipecd.yaml"


@dataclass(frozen=True, kw_only=True)
class GitPath:
    """An application's directory in a repository. `path` is relative to the repository's root."""

    repo_id: str
    path: str
    remote: str = ""
    branch: str = ""
    config_filename: str = DEFAULT_CONFIG_FILENAME
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class DeploymentReference:
    """The fields of a deployment that are stored with its application."""

    deployment_id: str
    commit: str
    completed_at: int = 0
    started_at: int = 0
    config_filename: str = DEFAULT_CONFIG_FILENAME


@dataclass(frozen=True, kw_only=True)
class Application:
    id: str
    name: str
    piped_id: str
    project_id: str
    kind: ApplicationKind
    git_path: GitPath
    platform_provider: str = ""
    disabled: bool = False
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    sync_status: SyncStatus = SyncStatus.UNKNOWN
    sync_reason: str = ""
    #: When the sync status was reported (epoch seconds).
    sync_reported_at: int = 0
    deploying: bool = False
    last_successful: DeploymentReference | None = None
    last_triggered: DeploymentReference | None = None

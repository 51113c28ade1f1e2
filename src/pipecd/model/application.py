"""Applications, their kind, and their location in Git.

The kind of an application is the name of the platform that deploys it, such as `TERRAFORM`: the name of the
platform's entry point. Any package can provide a platform, so there is no list of kinds. In PipeCD's plugin
architecture a kind is a plugin, whose name is the kind's in lower case.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipecd.model.status import SyncStatus

_KIND = re.compile(r"[A-Z][A-Z0-9_-]{0,62}")


def is_kind(name: str) -> bool:
    """Whether `name` can be the name of a kind."""
    return _KIND.fullmatch(name) is not None


def kind_of_plugin(plugin: str) -> str:
    """`terraform` → `TERRAFORM`."""
    return plugin.upper()


def plugin_of_kind(kind: str) -> str:
    """`TERRAFORM` → `terraform`."""
    return kind.lower()


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
class Pin:
    """Keeps an application at a commit that was deployed before. `until`: epoch seconds, 0: until removed."""

    commit: str
    #: The deployment that deployed this commit before.
    deployment_id: str
    by: str
    reason: str = ""
    until: int = 0
    #: The newest commit that was reported as held.
    newest_held: str = ""

    def is_active(self, now: float) -> bool:
        return self.until == 0 or now < self.until


@dataclass(frozen=True, kw_only=True)
class Application:
    id: str
    name: str
    piped_id: str
    project_id: str
    kind: str
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
    pin: Pin | None = None

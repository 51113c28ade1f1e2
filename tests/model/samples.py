"""Sample values for tests of decision rules."""

from pipecd.model.application import ApplicationKind, GitPath
from pipecd.model.deployment import Commit, Deployment, SyncStrategy, Trigger


def commit(message: str = "change") -> Commit:
    return Commit(hash="c" * 40, message=message, author="Ada", branch="main", created_at=1)


def trigger(
    strategy: SyncStrategy = SyncStrategy.AUTO, commander: str = "", message: str = "change"
) -> Trigger:
    return Trigger(
        commit=commit(message), timestamp=1, commander=commander, strategy=strategy, summary="as requested"
    )


def deployment() -> Deployment:
    return Deployment(
        id="d",
        application_id="a",
        application_name="app",
        piped_id="p",
        project_id="j",
        kind=ApplicationKind.TERRAFORM,
        git_path=GitPath(repo_id="r", path="app"),
        trigger=trigger(),
    )

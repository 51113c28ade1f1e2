"""Sample values for tests of decision rules."""

from dataclasses import replace
from typing import Any

from pipecd.model.application import Application, GitPath
from pipecd.model.deployment import Commit, Deployment, Stage, SyncStrategy, Trigger


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
        kind="TERRAFORM",
        git_path=GitPath(repo_id="r", path="app"),
        trigger=trigger(),
    )


def stage(**changes: Any) -> Stage:
    return replace(Stage(id="s", name="WAIT", index=0), **changes)


def application() -> Application:
    return Application(
        id="a",
        name="app",
        piped_id="p",
        project_id="j",
        kind="TERRAFORM",
        git_path=GitPath(repo_id="r", path="app"),
    )

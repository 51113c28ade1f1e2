"""Makes a deployment that was decided on: the record, the application's note of it, the word to people.

Called by `trigger`. Everything here may be done twice: the id is worked out of the cause, so a process that
was killed half-way is followed by one that ends up with the same deployment.
"""

import time
from dataclasses import dataclass, replace

from pipecd.config.application import Chain
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, SyncStrategy, Trigger, TriggerKind
from pipecd.model.status import DeploymentStatus
from pipecd.piped.notify.log import log_notification
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View
from pipecd.piped.source.heads import AppFile, Head
from pipecd.piped.source.weblinks import commit_url
from pipecd.piped.trigger.deployment_id import id_of_command, id_of_commit
from pipecd.schema.agent.chains_pb2 import CreateDeploymentChainRequest


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a deployment is made. `command_id` is empty when nobody asked for it."""

    kind: TriggerKind
    why: str
    command_id: str = ""
    commander: str = ""
    strategy: SyncStrategy = SyncStrategy.AUTO
    #: The deployment of the application that was triggered before this one.
    previous_id: str = ""
    chain_id: str = ""
    chain_block: int = 0


class Creator:
    def __init__(self, reports: Reports, view: View) -> None:
        self._reports, self._view = reports, view

    async def create(self, application: Application, head: Head, file: AppFile, cause: Cause) -> Deployment:
        """The deployment as it stands at the control plane; a repetition finds the first one."""
        made = _deployment(application, head, cause, int(time.time()))
        # A node of a chain belongs to that chain and begins no other.
        chain = _chain(file.chain) if file.chain and not cause.chain_id else None
        stands = await self._reports.created(made, chain)
        if _newest(stands, application):
            await self._reports.most_recent(stands, DeploymentStatus.PENDING)
        if not stands.status.final:
            self._view.created(stands)
        self._view.look_again()
        log_notification("DEPLOYMENT_TRIGGERED", _fields(stands, cause))
        return stands


def deployment_id(application_id: str, commit: str, cause: Cause) -> str:
    if cause.command_id:
        return id_of_command(application_id, cause.command_id)
    return id_of_commit(application_id, commit, cause.kind.name, cause.previous_id)


def _deployment(application: Application, head: Head, cause: Cause, now: int) -> Deployment:
    repository, url = head.repository, commit_url(head.repository.remote, head.commit.hash)
    return Deployment(
        id=deployment_id(application.id, head.commit.hash, cause),
        application_id=application.id,
        application_name=application.name,
        piped_id=application.piped_id,
        project_id=application.project_id,
        kind=application.kind,
        git_path=replace(application.git_path, remote=repository.remote, branch=repository.branch),
        trigger=Trigger(
            commit=replace(head.commit, url=url),
            timestamp=now,
            commander=cause.commander,
            strategy=cause.strategy,
            summary=cause.why if cause.strategy is not SyncStrategy.AUTO else "",
        ),
        platform_provider=application.platform_provider,
        labels=application.labels,
        reason=cause.why,
        chain_id=cause.chain_id,
        chain_block=cause.chain_block,
        created_at=now,
    )


def _chain(chain: Chain) -> CreateDeploymentChainRequest:
    matchers = [
        CreateDeploymentChainRequest.ApplicationMatcher(name=one.name, kind=one.kind, labels=dict(one.labels))
        for one in chain.applications
    ]
    return CreateDeploymentChainRequest(matchers=matchers)


def _newest(deployment: Deployment, application: Application) -> bool:
    """An old deployment that was found again must not pass for the last one."""
    last = application.last_triggered
    return last is None or (deployment.created_at or deployment.trigger.timestamp) >= last.started_at


def _fields(deployment: Deployment, cause: Cause) -> dict[str, str]:
    return {
        "application": deployment.application_name,
        "deployment": deployment.id,
        "commit": deployment.trigger.commit.hash,
        "reason": cause.why,
    }

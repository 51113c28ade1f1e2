"""Creates a deployment: its record, the application's reference to it, and the notification.

Called by the trigger loop. Creation is idempotent: the id is derived from the cause, so after a kill the next
process creates the same deployment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipecd import tracing
from pipecd.clock import Clock
from pipecd.config.application import Chain
from pipecd.model.application import Application
from pipecd.model.deployment import Deployment, SyncStrategy, Trigger, TriggerKind
from pipecd.model.notification import DeploymentTriggered, NotificationEvent
from pipecd.model.status import DeploymentStatus
from pipecd.model.trigger import ROLLBACK_TARGET
from pipecd.notify.mentions import mentions_metadata
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.view import View
from pipecd.piped.source.heads import AppFile, Head
from pipecd.piped.source.weblinks import commit_url
from pipecd.piped.traces import TRACE_PARENT
from pipecd.piped.trigger.deployment_id import id_of_command, id_of_commit
from pipecd.schema.agent.chains_pb2 import CreateDeploymentChainRequest
from pipecd.schema.model.chain_pb2 import ChainFailurePolicy

_ON_FAILURE = {
    "finish": ChainFailurePolicy.CHAIN_FAILURE_FINISH,
    "cancel": ChainFailurePolicy.CHAIN_FAILURE_CANCEL,
}


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a deployment is created. `command_id` is empty unless a command requested it."""

    kind: TriggerKind
    reason: str
    command_id: str = ""
    requested_by: str = ""
    strategy: SyncStrategy = SyncStrategy.AUTO
    #: The application's previously triggered deployment.
    previous_id: str = ""
    chain_id: str = ""
    chain_block: int = 0
    #: For a rollback: the earlier deployment whose commit is deployed again.
    rollback_target: str = ""
    #: The span of the command that asked for it (`traceparent`); empty without one.
    trace_parent: str = ""


class DeploymentCreator:
    def __init__(
        self, reporter: Reporter, view: View, clock: Clock, notify: Callable[[NotificationEvent], None]
    ) -> None:
        self._reporter, self._view, self._clock, self._notify = reporter, view, clock, notify

    async def create(
        self,
        application: Application,
        head: Head,
        file: AppFile,
        cause: Cause,
        trace_commits: Sequence[str] = (),
    ) -> Deployment:
        """The deployment as recorded by the control plane. A repeated call returns the existing one."""
        own_id = deployment_id(application.id, head.commit.hash, cause)
        attributes = {"application-id": application.id, "commit": head.commit.hash, "reason": cause.reason}
        # Without a command, the trace has the id that PipeCD's agents would give it.
        with tracing.span(
            "trigger",
            parent=cause.trace_parent,
            trace_id="" if cause.trace_parent else tracing.trace_id_of(own_id),
            attributes={"deployment-id": own_id, **attributes},
        ):
            return await self._create(application, head, file, cause, trace_commits)

    async def _create(
        self,
        application: Application,
        head: Head,
        file: AppFile,
        cause: Cause,
        trace_commits: Sequence[str],
    ) -> Deployment:
        now = int(self._clock.now())
        deployment = _deployment(application, head, file, cause, trace_commits, now)
        # A deployment that is part of a chain starts no other chain.
        chain = _chain(file.chain) if file.chain and not cause.chain_id else None
        recorded = await self._reporter.create_deployment(deployment, chain)
        if _is_latest(recorded, application):
            await self._reporter.report_most_recent(recorded, DeploymentStatus.PENDING)
        if not recorded.status.final:
            self._view.add_deployment(recorded)
        self._view.request_refresh()
        self._notify(DeploymentTriggered(at=now, deployment=recorded, reason=cause.reason))
        return recorded


def deployment_id(application_id: str, commit: str, cause: Cause) -> str:
    if cause.command_id:
        return id_of_command(application_id, cause.command_id)
    return id_of_commit(application_id, commit, cause.kind.name, cause.previous_id)


def _deployment(
    application: Application,
    head: Head,
    file: AppFile,
    cause: Cause,
    trace_commits: Sequence[str],
    now: int,
) -> Deployment:
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
            commander=cause.requested_by,
            strategy=cause.strategy,
            summary=cause.reason if cause.rollback_target or cause.strategy is not SyncStrategy.AUTO else "",
        ),
        platform_provider=application.platform_provider,
        # The commit may change the labels; the application's record is updated later.
        labels=dict(file.labels),
        reason=cause.reason,
        chain_id=cause.chain_id,
        chain_block=cause.chain_block,
        trace_commits=trace_commits,
        created_at=now,
        shared={
            **mentions_metadata(file.mentions, application.name),
            **_rollback_metadata(cause),
            **_trace_metadata(),
        },
    )


def _rollback_metadata(cause: Cause) -> dict[str, str]:
    return {ROLLBACK_TARGET: cause.rollback_target} if cause.rollback_target else {}


def _trace_metadata() -> dict[str, str]:
    return {TRACE_PARENT: current} if (current := tracing.current()) else {}


def _chain(chain: Chain) -> CreateDeploymentChainRequest:
    matchers = [
        CreateDeploymentChainRequest.ApplicationMatcher(
            name=matcher.name, kind=matcher.kind, labels=dict(matcher.labels)
        )
        for matcher in chain.applications
    ]
    return CreateDeploymentChainRequest(matchers=matchers, on_failure=_ON_FAILURE[chain.on_failure])


def _is_latest(deployment: Deployment, application: Application) -> bool:
    """False for an existing older deployment, which must not replace the reference to the latest."""
    last = application.last_triggered
    return last is None or (deployment.created_at or deployment.trigger.timestamp) >= last.started_at

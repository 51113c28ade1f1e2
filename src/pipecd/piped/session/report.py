"""Reports the agent's state to the control plane; each report is retried until it is accepted.

`rollout` passes a deployment's previous and new value; `report_changes` sends the difference, in an order
that stays correct when the agent is killed between two calls. During an outage a report waits, and with it
the work that depends on it: no status is invented. A rejected report (Conflict) raises to the caller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog
from grpc import aio

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.errors import AlreadyExists, NotFound, Temporary, Unsupported
from pipecd.model.application import DeploymentReference
from pipecd.model.deployment import Commit, Deployment, Stage, Version
from pipecd.model.status import DeploymentStatus, SyncStatus
from pipecd.retry import Retry
from pipecd.schema.agent.applications_pb2 import (
    GetApplicationMostRecentDeploymentRequest,
    ReportApplicationDeployingStatusRequest,
    ReportApplicationMostRecentDeploymentRequest,
    ReportApplicationSyncStateRequest,
)
from pipecd.schema.agent.chains_pb2 import CreateDeploymentChainRequest, InChainDeploymentPlannableRequest
from pipecd.schema.agent.commands_pb2 import ReportCommandHandledRequest
from pipecd.schema.agent.deployments_pb2 import (
    CreateDeploymentRequest,
    GetDeploymentRequest,
    ReportDeploymentCompletedRequest,
    ReportDeploymentPlannedRequest,
    ReportDeploymentStatusChangedRequest,
    ReportStageStatusChangedRequest,
    SaveDeploymentMetadataRequest,
    SaveDeploymentSharedMetadataRequest,
    SaveStageMetadataRequest,
)
from pipecd.schema.model.application_pb2 import ApplicationSyncState, ApplicationSyncStatus
from pipecd.schema.model.command_pb2 import CommandStatus
from pipecd.schema.pipecd.v1.agent_pb2 import ReportHeldCommitsRequest
from pipecd.secrets import Redactor
from pipecd.wire import (
    commit_to,
    deployment_from,
    deployment_status_to,
    deployment_to,
    reference_from,
    reference_to,
    stage_status_to,
    stage_to,
    strategy_to,
    version_to,
)

log = structlog.get_logger()

Request = TypeVar("Request")
Response = TypeVar("Response")

#: One series of attempts; `_send` repeats the series until the report is accepted.
REPORT_RETRY = Retry(base=0.5, cap=10.0, tries=10)


class Reporter:
    def __init__(self, client: Client, redactor: Redactor, clock: Clock) -> None:
        self._client, self._redact, self._clock = client, redactor.text, clock
        self._piped = client.piped

    async def report_changes(self, old: Deployment, new: Deployment) -> None:
        """Send what differs. Metadata and stage statuses go before the deployment status that needs them."""
        await self._save_shared_metadata(old, new)
        if old.status is DeploymentStatus.PENDING and new.status is DeploymentStatus.PLANNED:
            await self._report_planned(new)
            return
        for old_stage, new_stage in zip(old.stages, new.stages, strict=True):
            await self._report_stage_changes(new.id, old_stage, new_stage)
        if new.status is old.status:
            return
        if new.status.final:
            await self._report_completed(new)
        else:
            await self._send(
                self._piped.ReportDeploymentStatusChanged,
                ReportDeploymentStatusChangedRequest(
                    deployment_id=new.id,
                    status=deployment_status_to(new.status),
                    status_reason=self._redact(new.reason),
                    deployment_chain_id=new.chain_id,
                    deployment_chain_block_index=new.chain_block,
                ),
            )

    async def get_deployment(self, deployment_id: str) -> Deployment:
        response = await self._send(self._piped.GetDeployment, GetDeploymentRequest(id=deployment_id))
        return deployment_from(response.deployment)

    async def create_deployment(
        self, deployment: Deployment, chain: CreateDeploymentChainRequest | None = None
    ) -> Deployment:
        """Create the deployment; with `chain`, as the first deployment of that chain.

        Returns the stored deployment. It may exist already: an earlier attempt succeeded, maybe of another
        process.
        """
        message = deployment_to(deployment, now=int(self._clock.now()))
        try:
            if chain is not None:
                chain.first_deployment.CopyFrom(message)
                await self._send(self._piped.CreateDeploymentChain, chain)
            else:
                await self._send(self._piped.CreateDeployment, CreateDeploymentRequest(deployment=message))
        except AlreadyExists:
            log.info("deployment_already_exists", deployment=deployment.id)
            return await self.get_deployment(deployment.id)
        return deployment

    async def report_most_recent(self, deployment: Deployment, status: DeploymentStatus) -> None:
        """`status`: PENDING for the last triggered deployment, SUCCESS for the last successful one."""
        await self._send(
            self._piped.ReportApplicationMostRecentDeployment,
            ReportApplicationMostRecentDeploymentRequest(
                application_id=deployment.application_id,
                status=deployment_status_to(status),
                deployment=reference_to(deployment),
            ),
        )

    async def get_last_successful(self, application_id: str) -> DeploymentReference | None:
        request = GetApplicationMostRecentDeploymentRequest(
            application_id=application_id, status=deployment_status_to(DeploymentStatus.SUCCESS)
        )
        try:
            response = await self._send(self._piped.GetApplicationMostRecentDeployment, request)
        except NotFound:
            return None
        return reference_from(response.deployment)

    async def report_deploying(self, application_id: str, *, deploying: bool) -> None:
        request = ReportApplicationDeployingStatusRequest(application_id=application_id, deploying=deploying)
        await self._send(self._piped.ReportApplicationDeployingStatus, request)

    async def report_sync_state(
        self,
        application_id: str,
        status: SyncStatus,
        *,
        short: str,
        reason: str = "",
        head: str = "",
        at: int,
    ) -> None:
        state = ApplicationSyncState(
            status=ApplicationSyncStatus.ValueType(status),
            short_reason=self._redact(short),
            reason=self._redact(reason or short),
            head_deployment_id=head,
            timestamp=at,
        )
        request = ReportApplicationSyncStateRequest(application_id=application_id, state=state)
        await self._send(self._piped.ReportApplicationSyncState, request)

    async def report_held_commits(
        self, application_id: str, pinned_deployment_id: str, commits: Sequence[Commit]
    ) -> None:
        """The commits, newest first, that a pin keeps from being deployed."""
        request = ReportHeldCommitsRequest(
            application_id=application_id,
            pinned_deployment_id=pinned_deployment_id,
            commits=[commit_to(commit) for commit in commits],
        )
        await self._send(self._client.agent.ReportHeldCommits, request)

    async def check_plannable(self, deployment: Deployment) -> tuple[bool, str]:
        """Whether its chain allows planning now, and why it must be cancelled (empty if it must not)."""
        request = InChainDeploymentPlannableRequest(
            deployment_id=deployment.id,
            deployment_chain_id=deployment.chain_id,
            deployment_chain_block_index=deployment.chain_block,
        )
        response = await self._send(self._piped.InChainDeploymentPlannable, request)
        cancel_reason = (
            response.cancel_reason or "its deployment chain was cancelled" if response.cancel else ""
        )
        return response.plannable, cancel_reason

    async def report_command_succeeded(
        self, command_id: str, *, metadata: Mapping[str, str] | None = None, output: bytes = b""
    ) -> None:
        await self._report_command(command_id, CommandStatus.COMMAND_SUCCEEDED, metadata or {}, output)

    async def report_command_failed(self, command_id: str, reason: str, *, output: bytes = b"") -> None:
        metadata = {"reason": self._redact(reason)}
        await self._report_command(command_id, CommandStatus.COMMAND_FAILED, metadata, output)

    async def _report_command(
        self, command_id: str, status: CommandStatus.ValueType, metadata: Mapping[str, str], output: bytes
    ) -> None:
        request = ReportCommandHandledRequest(
            command_id=command_id,
            status=status,
            metadata=self._redact_metadata(metadata),
            handled_at=int(self._clock.now()),
            output=output,
        )
        try:
            await self._send(self._piped.ReportCommandHandled, request)
        except NotFound:
            log.warning("command_not_found", command=command_id)

    def _redact_metadata(self, metadata: Mapping[str, str]) -> dict[str, str]:
        return {key: self._redact(value) for key, value in metadata.items()}

    def _redact_version(self, version: Version) -> Version:
        redact = self._redact
        return replace(
            version, version=redact(version.version), name=redact(version.name), url=redact(version.url)
        )

    async def _report_planned(self, new: Deployment) -> None:
        now = int(self._clock.now())
        await self._send(
            self._piped.ReportDeploymentPlanned,
            ReportDeploymentPlannedRequest(
                deployment_id=new.id,
                summary=self._redact(new.summary),
                status_reason=self._redact(new.reason),
                running_commit_hash=new.running_commit,
                running_config_filename=new.running_config_filename,
                sync_strategy=strategy_to(new.trigger.strategy),
                versions=[version_to(self._redact_version(version)) for version in new.versions],
                stages=[stage_to(stage, now=now) for stage in new.stages],
                deployment_chain_id=new.chain_id,
                deployment_chain_block_index=new.chain_block,
            ),
        )

    async def _save_shared_metadata(self, old: Deployment, new: Deployment) -> None:
        changes = self._redact_metadata(_changed_entries(old.shared, new.shared))
        if not changes:
            return
        try:
            request = SaveDeploymentSharedMetadataRequest(deployment_id=new.id, metadata=changes)
            await self._send(self._piped.SaveDeploymentSharedMetadata, request)
        except Unsupported:
            # PipeCD before 0.53 has a single metadata map; `deployment_from` reads both.
            legacy_request = SaveDeploymentMetadataRequest(deployment_id=new.id, metadata=changes)
            await self._send(self._piped.SaveDeploymentMetadata, legacy_request)

    async def _report_stage_changes(self, deployment_id: str, old: Stage, new: Stage) -> None:
        changes = _changed_entries(old.metadata, new.metadata)
        if changes:
            request = SaveStageMetadataRequest(
                deployment_id=deployment_id, stage_id=new.id, metadata=self._redact_metadata(changes)
            )
            await self._send(self._piped.SaveStageMetadata, request)
        if (old.status, old.reason) != (new.status, new.reason):
            await self._send(
                self._piped.ReportStageStatusChanged,
                ReportStageStatusChangedRequest(
                    deployment_id=deployment_id,
                    stage_id=new.id,
                    status=stage_status_to(new.status),
                    status_reason=self._redact(new.reason),
                    requires=new.requires,
                    visible=new.visible,
                    completed_at=new.completed_at or int(self._clock.now()),
                ),
            )

    async def _report_completed(self, new: Deployment) -> None:
        if new.status is DeploymentStatus.SUCCESS:
            await self.report_most_recent(new, DeploymentStatus.SUCCESS)
        await self.report_deploying(new.application_id, deploying=False)
        await self._send(
            self._piped.ReportDeploymentCompleted,
            ReportDeploymentCompletedRequest(
                deployment_id=new.id,
                status=deployment_status_to(new.status),
                status_reason=self._redact(new.reason),
                stage_statuses={stage.id: stage_status_to(stage.status) for stage in new.stages},
                deployment_chain_id=new.chain_id,
                deployment_chain_block_index=new.chain_block,
                completed_at=new.completed_at,
            ),
        )

    async def _send(
        self, method: aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """Retry until there is a response, however long the control plane is unreachable."""
        while True:
            try:
                return await self._client.call(method, request, policy=REPORT_RETRY)
            except Temporary as error:
                log.warning(
                    "report_waiting_for_control_plane", report=type(request).__name__, error=str(error)
                )


def _changed_entries(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in new.items() if old.get(key) != value}

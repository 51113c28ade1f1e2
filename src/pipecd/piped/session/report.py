"""What the agent tells the control plane, each fact until it is accepted.

`rollout` hands over what a deployment was and what it is now; `record` sends the difference, in an
order that a kill between two calls cannot make a lie of. An outage makes a report wait, and with it
the work that depends on it: no status is invented. A refusal (Conflict) rises to the caller.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import structlog
from grpc import aio

from pipecd.client import Client
from pipecd.errors import AlreadyExists, NotFound, Temporary, Unsupported
from pipecd.model.application import DeploymentReference
from pipecd.model.deployment import Deployment, Stage, Version
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
from pipecd.secrets import Redactor
from pipecd.wire import (
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

#: One round of tries; rounds follow one another until the report is accepted.
ROUND = Retry(base=0.5, cap=10.0, tries=10)


class Reports:
    def __init__(self, client: Client, redactor: Redactor) -> None:
        self._client, self._clean = client, redactor.text
        self._piped = client.piped

    async def record(self, old: Deployment, new: Deployment) -> None:
        """Send what differs. What a status rests on goes before the status."""
        await self._shared(old, new)
        if old.status is DeploymentStatus.PENDING and new.status is DeploymentStatus.PLANNED:
            await self._planned(new)
            return
        for before, now in zip(old.stages, new.stages, strict=True):
            await self._stage(new.id, before, now)
        if new.status is old.status:
            return
        if new.status.final:
            await self._completed(new)
        else:
            await self._send(
                self._piped.ReportDeploymentStatusChanged,
                ReportDeploymentStatusChangedRequest(
                    deployment_id=new.id,
                    status=deployment_status_to(new.status),
                    status_reason=self._clean(new.reason),
                    deployment_chain_id=new.chain_id,
                    deployment_chain_block_index=new.chain_block,
                ),
            )

    async def deployment(self, deployment_id: str) -> Deployment:
        answer = await self._send(self._piped.GetDeployment, GetDeploymentRequest(id=deployment_id))
        return deployment_from(answer.deployment)

    async def created(
        self, deployment: Deployment, chain: CreateDeploymentChainRequest | None = None
    ) -> Deployment:
        """Make the deployment; with `chain`, as the first of that. The answer is the one that stands.

        That it exists already means that an earlier try was heard, maybe of another process.
        """
        message = deployment_to(deployment, now=int(time.time()))
        try:
            if chain is not None:
                chain.first_deployment.CopyFrom(message)
                await self._send(self._piped.CreateDeploymentChain, chain)
            else:
                await self._send(self._piped.CreateDeployment, CreateDeploymentRequest(deployment=message))
        except AlreadyExists:
            log.info("deployment existed already", deployment=deployment.id)
            return await self.deployment(deployment.id)
        return deployment

    async def most_recent(self, deployment: Deployment, status: DeploymentStatus) -> None:
        """`status`: PENDING for the last triggered, SUCCESS for the last successful."""
        await self._send(
            self._piped.ReportApplicationMostRecentDeployment,
            ReportApplicationMostRecentDeploymentRequest(
                application_id=deployment.application_id,
                status=deployment_status_to(status),
                deployment=reference_to(deployment),
            ),
        )

    async def last_successful(self, application_id: str) -> DeploymentReference | None:
        request = GetApplicationMostRecentDeploymentRequest(
            application_id=application_id, status=deployment_status_to(DeploymentStatus.SUCCESS)
        )
        try:
            answer = await self._send(self._piped.GetApplicationMostRecentDeployment, request)
        except NotFound:
            return None
        return reference_from(answer.deployment)

    async def deploying(self, application_id: str, *, deploying: bool) -> None:
        request = ReportApplicationDeployingStatusRequest(application_id=application_id, deploying=deploying)
        await self._send(self._piped.ReportApplicationDeployingStatus, request)

    async def sync_state(
        self, application_id: str, status: SyncStatus, *, short: str, reason: str = "", head: str = ""
    ) -> None:
        state = ApplicationSyncState(
            status=ApplicationSyncStatus.ValueType(status),
            short_reason=self._clean(short),
            reason=self._clean(reason or short),
            head_deployment_id=head,
            timestamp=int(time.time()),
        )
        request = ReportApplicationSyncStateRequest(application_id=application_id, state=state)
        await self._send(self._piped.ReportApplicationSyncState, request)

    async def plannable(self, deployment: Deployment) -> tuple[bool, str]:
        """Whether its chain lets it be planned now, and, when it must be given up, why."""
        request = InChainDeploymentPlannableRequest(
            deployment_id=deployment.id,
            deployment_chain_id=deployment.chain_id,
            deployment_chain_block_index=deployment.chain_block,
        )
        answer = await self._send(self._piped.InChainDeploymentPlannable, request)
        given_up = answer.cancel_reason or "its deployment chain was given up" if answer.cancel else ""
        return answer.plannable, given_up

    async def handled(
        self, command_id: str, *, metadata: Mapping[str, str] | None = None, output: bytes = b""
    ) -> None:
        await self._answer(command_id, CommandStatus.COMMAND_SUCCEEDED, metadata or {}, output)

    async def refused(self, command_id: str, why: str, *, output: bytes = b"") -> None:
        await self._answer(command_id, CommandStatus.COMMAND_FAILED, {"reason": self._clean(why)}, output)

    async def _answer(
        self, command_id: str, status: CommandStatus.ValueType, metadata: Mapping[str, str], output: bytes
    ) -> None:
        request = ReportCommandHandledRequest(
            command_id=command_id,
            status=status,
            metadata=self._cleaned(metadata),
            handled_at=int(time.time()),
            output=output,
        )
        try:
            await self._send(self._piped.ReportCommandHandled, request)
        except NotFound:
            log.warning("command is gone", command=command_id)

    def _cleaned(self, metadata: Mapping[str, str]) -> dict[str, str]:
        return {key: self._clean(value) for key, value in metadata.items()}

    def _public(self, version: Version) -> Version:
        clean = self._clean
        return replace(
            version, version=clean(version.version), name=clean(version.name), url=clean(version.url)
        )

    async def _planned(self, new: Deployment) -> None:
        now = int(time.time())
        await self._send(
            self._piped.ReportDeploymentPlanned,
            ReportDeploymentPlannedRequest(
                deployment_id=new.id,
                summary=self._clean(new.summary),
                status_reason=self._clean(new.reason),
                running_commit_hash=new.running_commit,
                running_config_filename=new.running_config_filename,
                sync_strategy=strategy_to(new.trigger.strategy),
                versions=[version_to(self._public(version)) for version in new.versions],
                stages=[stage_to(stage, now=now) for stage in new.stages],
                deployment_chain_id=new.chain_id,
                deployment_chain_block_index=new.chain_block,
            ),
        )

    async def _shared(self, old: Deployment, new: Deployment) -> None:
        added = self._cleaned(_added(old.shared, new.shared))
        if not added:
            return
        try:
            request = SaveDeploymentSharedMetadataRequest(deployment_id=new.id, metadata=added)
            await self._send(self._piped.SaveDeploymentSharedMetadata, request)
        except Unsupported:
            # PipeCD before 0.53 has one place for it, and `deployment_from` reads both.
            older = SaveDeploymentMetadataRequest(deployment_id=new.id, metadata=added)
            await self._send(self._piped.SaveDeploymentMetadata, older)

    async def _stage(self, deployment_id: str, old: Stage, new: Stage) -> None:
        added = _added(old.metadata, new.metadata)
        if added:
            request = SaveStageMetadataRequest(
                deployment_id=deployment_id, stage_id=new.id, metadata=self._cleaned(added)
            )
            await self._send(self._piped.SaveStageMetadata, request)
        if (old.status, old.reason) != (new.status, new.reason):
            await self._send(
                self._piped.ReportStageStatusChanged,
                ReportStageStatusChangedRequest(
                    deployment_id=deployment_id,
                    stage_id=new.id,
                    status=stage_status_to(new.status),
                    status_reason=self._clean(new.reason),
                    requires=new.requires,
                    visible=new.visible,
                    completed_at=new.completed_at or int(time.time()),
                ),
            )

    async def _completed(self, new: Deployment) -> None:
        if new.status is DeploymentStatus.SUCCESS:
            await self.most_recent(new, DeploymentStatus.SUCCESS)
        await self.deploying(new.application_id, deploying=False)
        await self._send(
            self._piped.ReportDeploymentCompleted,
            ReportDeploymentCompletedRequest(
                deployment_id=new.id,
                status=deployment_status_to(new.status),
                status_reason=self._clean(new.reason),
                stage_statuses={stage.id: stage_status_to(stage.status) for stage in new.stages},
                deployment_chain_id=new.chain_id,
                deployment_chain_block_index=new.chain_block,
                completed_at=new.completed_at,
            ),
        )

    async def _send(
        self, method: aio.UnaryUnaryMultiCallable[Request, Response], request: Request
    ) -> Response:
        """The answer, however long the control plane is away. Ends early only by cancellation."""
        while True:
            try:
                return await self._client.call(method, request, policy=ROUND)
            except Temporary as error:
                log.warning(
                    "report waits for the control plane", report=type(request).__name__, why=str(error)
                )


def _added(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in new.items() if old.get(key) != value}

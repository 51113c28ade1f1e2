"""Cached control-plane records, shared by the agent's loops.

`polling` calls `refresh_*` periodically, and `watch` at each change notification. Readers always find
complete values; feeds notify them of changes. Records that this process finished are left out, however stale
a response is.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import TypeVar

import structlog

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.errors import Unsupported
from pipecd.model.application import Application
from pipecd.model.command import ApproveStage, CancelDeployment, Command, SkipStage
from pipecd.model.deployment import Deployment
from pipecd.model.stage import StageAction
from pipecd.piped.loop import Feed, Wake
from pipecd.schema.agent.applications_pb2 import ListApplicationsRequest
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest
from pipecd.schema.agent.deployments_pb2 import ListNotCompletedDeploymentsRequest
from pipecd.schema.model.deployment_pb2 import Deployment as WireDeployment
from pipecd.wire import application_from, command_from, deployment_from

log = structlog.get_logger()

#: How long created and finished records are remembered (seconds); no response is in flight for that long.
RETENTION = 3600.0
#: Limits a listing whose cursors never end, which is an error of the control plane.
MAX_PAGES = 10_000


class View:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self.applications: Mapping[str, Application] = {}
        self._encoded_applications: Mapping[str, bytes] = {}
        self.deployments: Mapping[str, Deployment] = {}
        #: Ids of applications with a running deployment. Their records show it only after the next refresh.
        self.deploying_applications: Set[str] = frozenset()
        self.commands: Mapping[str, Command] = {}
        #: Requests a refresh of the applications after this process changed one, which is not notified.
        self.request_refresh = Wake()
        self.applications_feed, self.deployments_feed, self.commands_feed = Feed(), Feed(), Feed()
        self._finished_at: dict[str, float] = {}
        self._created_at: dict[str, float] = {}
        #: Application id → when one of its deployments was last seen to have ended.
        self._deployment_ended_at: dict[str, float] = {}
        self._loaded = {name: asyncio.Event() for name in ("applications", "deployments", "commands")}

    async def wait_until_loaded(self) -> None:
        """Return once every kind of record was read at least once; no decision is possible before that."""
        for event in self._loaded.values():
            await event.wait()

    async def refresh_applications(self) -> None:
        response = await self._client.call(self._client.piped.ListApplications, ListApplicationsRequest())
        # Decoding takes most of the time, and between two refreshes few applications change.
        encoded = {message.id: message.SerializeToString() for message in response.applications}
        known = {
            key: self.applications.get(key)
            for key, content in encoded.items()
            if self._encoded_applications.get(key) == content
        }
        changed = [message for message in response.applications if message.id not in known]
        decoded = {value.id: value for value in _decode_supported(application_from, changed)}
        values = {key: known.get(key) or decoded.get(key) for key in encoded}
        self.applications = {key: value for key, value in values.items() if value}
        self._encoded_applications = encoded
        self._loaded["applications"].set()
        self.applications_feed()

    async def refresh_deployments(self) -> None:
        started_at = self._clock.monotonic()
        messages: list[WireDeployment] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            request = ListNotCompletedDeploymentsRequest(cursor=cursor)
            response = await self._client.call(self._client.piped.ListNotCompletedDeployments, request)
            messages.extend(response.deployments)
            if not response.deployments or response.cursor in ("", PIPECD_CURSOR, cursor):
                break
            cursor = response.cursor
        deployments = _decode_supported(deployment_from, messages)
        self._prune()
        listed = {
            deployment.id: deployment for deployment in deployments if deployment.id not in self._finished_at
        }
        # The listing may miss deployments that were created after it began.
        newer = {
            deployment_id: deployment
            for deployment_id, deployment in self.deployments.items()
            if self._created_at.get(deployment_id, -math.inf) >= started_at
        }
        self._set_deployments(newer | listed)
        self._loaded["deployments"].set()
        self.deployments_feed()

    async def refresh_commands(self) -> None:
        request = ListUnhandledCommandsRequest()
        response = await self._client.call(self._client.piped.ListUnhandledCommands, request)
        commands = _decode_supported(command_from, response.commands)
        self._prune()
        oldest_first = sorted(commands, key=lambda command: (command.created_at, command.id))
        self.commands = {
            command.id: command for command in oldest_first if command.id not in self._finished_at
        }
        self._loaded["commands"].set()
        self.commands_feed()

    def add_deployment(self, deployment: Deployment) -> None:
        """Add a deployment that this process created, without waiting for the next listing."""
        self._created_at[deployment.id] = self._clock.monotonic()
        if deployment.id not in self._finished_at:
            self._set_deployments({**self.deployments, deployment.id: deployment})
            self.deployments_feed()

    def mark_finished(self, record_id: str) -> None:
        """Remove the deployment or command, even if a listing in flight still contains it."""
        self._finished_at[record_id] = self._clock.monotonic()
        self._set_deployments({key: value for key, value in self.deployments.items() if key != record_id})
        self.commands = {key: value for key, value in self.commands.items() if key != record_id}

    def with_current_deploying(self, application: Application) -> Application:
        """`application` with `deploying` set if a deployment runs, even if the record is older than that."""
        if application.id in self.deploying_applications:
            return replace(application, deploying=True)
        return application

    def had_deployment_since(self, application_id: str, at: float) -> bool:
        """Whether a deployment of the application was running at any time after `at` (monotonic seconds)."""
        ended_at = self._deployment_ended_at.get(application_id, -math.inf)
        return application_id in self.deploying_applications or ended_at >= at

    def find_cancel(self, deployment_id: str) -> CancelDeployment | None:
        """The oldest pending cancel command for that deployment."""
        for command in self.commands.values():
            if isinstance(command, CancelDeployment) and command.deployment_id == deployment_id:
                return command
        return None

    def stage_actions(self, deployment_id: str, stage_id: str) -> tuple[StageAction, ...]:
        """The pending approve and skip requests for that stage, oldest first."""
        commands = [
            command
            for command in self.commands.values()
            if isinstance(command, ApproveStage | SkipStage)
            and (command.deployment_id, command.stage_id) == (deployment_id, stage_id)
        ]
        return tuple(
            StageAction(
                id=command.id,
                requested_by=command.commander,
                approve=isinstance(command, ApproveStage),
                comment=command.comment if isinstance(command, ApproveStage) else "",
                requested_at=command.created_at,
            )
            for command in commands
        )

    def _set_deployments(self, deployments: Mapping[str, Deployment]) -> None:
        now = self._clock.monotonic()
        ended_ids = self.deployments.keys() - deployments.keys()
        self._deployment_ended_at |= {self.deployments[key].application_id: now for key in ended_ids}
        self.deployments = deployments
        self.deploying_applications = {deployment.application_id for deployment in deployments.values()}

    def _prune(self) -> None:
        limit = self._clock.monotonic() - RETENTION
        self._finished_at = {key: at for key, at in self._finished_at.items() if at > limit}
        self._created_at = {key: at for key, at in self._created_at.items() if at > limit}
        self._deployment_ended_at = {key: at for key, at in self._deployment_ended_at.items() if at > limit}


#: The cursor of PipeCD's server on its single page; the server rejects it when it is sent back.
PIPECD_CURSOR = "e30="

Message = TypeVar("Message")
Value = TypeVar("Value")


def _decode_supported(decode: Callable[[Message], Value], messages: Iterable[Message]) -> list[Value]:
    """The records that this version supports. A record of a newer kind is skipped and hides no others."""
    values = []
    for message in messages:
        try:
            values.append(decode(message))
        except Unsupported as error:
            log.error("unsupported_record_ignored", error=str(error))
    return values

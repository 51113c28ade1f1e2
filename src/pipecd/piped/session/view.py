"""What the control plane says, as last read: the facts that the loops share.

Filled by `refresh_*`, which `run` ticks slowly and `watch` at once. Readers find whole values and are
woken by the feeds. What this process itself finished is left out, however stale an answer is.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import TypeVar

import structlog

from pipecd.client import Client
from pipecd.errors import Unsupported
from pipecd.model.application import Application
from pipecd.model.command import ApproveStage, CancelDeployment, Command, SkipStage
from pipecd.model.deployment import Deployment
from pipecd.model.stage import Order
from pipecd.piped.loop import Feed, Wake
from pipecd.schema.agent.applications_pb2 import ListApplicationsRequest
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest
from pipecd.schema.agent.deployments_pb2 import ListNotCompletedDeploymentsRequest
from pipecd.schema.model.deployment_pb2 import Deployment as WireDeployment
from pipecd.wire import application_from, command_from, deployment_from

log = structlog.get_logger()

#: An answer that was on its way when something ended is long gone by then (seconds).
REMEMBERED = 3600.0
#: A listing that does not end is a fault of the other side.
MAX_PAGES = 10_000


class View:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.applications: Mapping[str, Application] = {}
        self.deployments: Mapping[str, Deployment] = {}
        #: Applications with a deployment under way. Their records say so only after they were read again.
        self.at_work: Set[str] = frozenset()
        self.commands: Mapping[str, Command] = {}
        #: Brings the next reading of the applications forward: we changed one, and nobody tells us of that.
        self.look_again = Wake()
        self.applications_feed, self.deployments_feed, self.commands_feed = Feed(), Feed(), Feed()
        self._finished: dict[str, float] = {}
        self._made: dict[str, float] = {}
        #: Application → when a deployment of it was last seen to be over.
        self._rested: dict[str, float] = {}
        self._loaded = {name: asyncio.Event() for name in ("applications", "deployments", "commands")}

    async def loaded(self) -> None:
        """Return once everything was read at least once: before that, nothing can be decided."""
        for event in self._loaded.values():
            await event.wait()

    async def refresh_applications(self) -> None:
        answer = await self._client.call(self._client.piped.ListApplications, ListApplicationsRequest())
        found = _understood(application_from, answer.applications)
        self.applications = {application.id: application for application in found}
        self._loaded["applications"].set()
        self.applications_feed()

    async def refresh_deployments(self) -> None:
        begun = time.monotonic()
        messages: list[WireDeployment] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            request = ListNotCompletedDeploymentsRequest(cursor=cursor)
            answer = await self._client.call(self._client.piped.ListNotCompletedDeployments, request)
            messages.extend(answer.deployments)
            if not answer.deployments or answer.cursor in ("", PIPECD_CURSOR, cursor):
                break
            cursor = answer.cursor
        found = _understood(deployment_from, messages)
        self._forget_old()
        listed = {one.id: one for one in found if one.id not in self._finished}
        # Made while the answer was on its way: the listing cannot know of it.
        newer = {key: one for key, one in self.deployments.items() if self._made.get(key, 0.0) >= begun}
        self._now_under_way(newer | listed)
        self._loaded["deployments"].set()
        self.deployments_feed()

    async def refresh_commands(self) -> None:
        request = ListUnhandledCommandsRequest()
        answer = await self._client.call(self._client.piped.ListUnhandledCommands, request)
        found = _understood(command_from, answer.commands)
        self._forget_old()
        oldest_first = sorted(found, key=lambda command: (command.created_at, command.id))
        self.commands = {one.id: one for one in oldest_first if one.id not in self._finished}
        self._loaded["commands"].set()
        self.commands_feed()

    def created(self, deployment: Deployment) -> None:
        """This process made `deployment`: no need to wait for the next listing."""
        self._made[deployment.id] = time.monotonic()
        if deployment.id not in self._finished:
            self._now_under_way({**self.deployments, deployment.id: deployment})
            self.deployments_feed()

    def finished(self, record_id: str) -> None:
        """The deployment or command is over, whatever a listing under way still says."""
        self._finished[record_id] = time.monotonic()
        self._now_under_way({key: one for key, one in self.deployments.items() if key != record_id})
        self.commands = {key: one for key, one in self.commands.items() if key != record_id}

    def known(self, application: Application) -> Application:
        """Deploying also where its record was read before the deployment began that is under way."""
        return replace(application, deploying=True) if application.id in self.at_work else application

    def deployed_since(self, application_id: str, at: float) -> bool:
        """Whether a deployment of it was under way at any time after `at` (monotonic seconds)."""
        return application_id in self.at_work or self._rested.get(application_id, 0.0) >= at

    def cancel_of(self, deployment_id: str) -> CancelDeployment | None:
        """The first wish to cancel that deployment."""
        for command in self.commands.values():
            if isinstance(command, CancelDeployment) and command.deployment_id == deployment_id:
                return command
        return None

    def orders(self, deployment_id: str, stage_id: str) -> tuple[Order, ...]:
        """What people asked of that stage and was not answered yet, oldest first."""
        asked = [
            command
            for command in self.commands.values()
            if isinstance(command, ApproveStage | SkipStage)
            and (command.deployment_id, command.stage_id) == (deployment_id, stage_id)
        ]
        return tuple(
            Order(id=one.id, commander=one.commander, approve=isinstance(one, ApproveStage)) for one in asked
        )

    def _now_under_way(self, deployments: Mapping[str, Deployment]) -> None:
        now = time.monotonic()
        gone = self.deployments.keys() - deployments.keys()
        self._rested |= {self.deployments[key].application_id: now for key in gone}
        self.deployments = deployments
        self.at_work = {one.application_id for one in deployments.values()}

    def _forget_old(self) -> None:
        limit = time.monotonic() - REMEMBERED
        self._finished = {key: at for key, at in self._finished.items() if at > limit}
        self._made = {key: at for key, at in self._made.items() if at > limit}
        self._rested = {key: at for key, at in self._rested.items() if at > limit}


#: What PipeCD's server answers on its one and only page, and refuses when it is sent back.
PIPECD_CURSOR = "e30="

Message = TypeVar("Message")
Value = TypeVar("Value")


def _understood(decode: Callable[[Message], Value], messages: Iterable[Message]) -> list[Value]:
    """The records this version understands; one of a newer kind must not hide the others."""
    values = []
    for message in messages:
        try:
            values.append(decode(message))
        except Unsupported as error:
            log.error("record left out", why=str(error))
    return values

"""Answers the commands that nobody else will: restarts, unknown ones, and those that came too late.

Syncs belong to `trigger`; cancel, approve and skip to the `rollout` they are about. A person who asked
gets a sentence, never silence.
"""

import asyncio

import structlog

from pipecd.errors import NotFound, PermissionDenied
from pipecd.model.command import ApproveStage, CancelDeployment, RestartAgent, SkipStage, UnknownCommand
from pipecd.model.deployment import Deployment
from pipecd.model.status import DeploymentStatus
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reports
from pipecd.piped.session.view import View

log = structlog.get_logger()


class Commands:
    def __init__(self, view: View, leadership: Leadership, reports: Reports, restart: asyncio.Event) -> None:
        self._view, self._leadership, self._reports = view, leadership, reports
        self._restart = restart

    async def answer(self) -> None:
        """One look at what waits."""
        await self._view.loaded()
        if not self._leadership.lease.may_begin:
            return
        for command in list(self._view.commands.values()):
            match command:
                case RestartAgent():
                    await self._restarting(command)
                case UnknownCommand():
                    await self._refuse(command.id, f"this agent does not support {command.kind}")
                case CancelDeployment() | ApproveStage() | SkipStage():
                    await self._too_late(command)

    async def _restarting(self, command: RestartAgent) -> None:
        await self._reports.handled(command.id, output=command.id.encode())
        self._view.finished(command.id)
        log.info("restarting", asked_by=command.commander)
        self._restart.set()

    async def _too_late(self, command: CancelDeployment | ApproveStage | SkipStage) -> None:
        if command.deployment_id in self._view.deployments:
            return
        try:
            deployment = await self._reports.deployment(command.deployment_id)
        except (NotFound, PermissionDenied):
            await self._refuse(command.id, "this agent has no such deployment")
            return
        if not deployment.status.final:
            return
        if isinstance(command, CancelDeployment) and deployment.status is DeploymentStatus.CANCELLED:
            await self._reports.handled(command.id)
            self._view.finished(command.id)
            return
        await self._refuse(command.id, _over(deployment))

    async def _refuse(self, command_id: str, why: str) -> None:
        log.info("command refused", command=command_id, why=why)
        await self._reports.refused(command_id, why)
        self._view.finished(command_id)


def _over(deployment: Deployment) -> str:
    return f"the deployment is over already: {deployment.status.name}"

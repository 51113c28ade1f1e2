"""Answers commands that no other loop answers: restarts, unsupported ones, and those for ended deployments.

`trigger` answers syncs; `rollout` answers cancel, approve and skip for its own deployment. Every command gets
a result, so that no requester waits until its own timeout.
"""

import asyncio

import structlog

from pipecd.errors import NotFound, PermissionDenied
from pipecd.model.command import ApproveStage, CancelDeployment, RestartAgent, SkipStage, UnknownCommand
from pipecd.model.deployment import Deployment
from pipecd.model.status import DeploymentStatus
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.report import Reporter
from pipecd.piped.session.view import View

log = structlog.get_logger()


class CommandResponder:
    def __init__(
        self, view: View, leadership: Leadership, reporter: Reporter, restart: asyncio.Event
    ) -> None:
        self._view, self._leadership, self._reporter = view, leadership, reporter
        self._restart = restart

    async def answer_pending(self) -> None:
        """Answer the pending commands that belong here, once."""
        await self._view.wait_until_loaded()
        if not self._leadership.lease.may_begin:
            return
        for command in list(self._view.commands.values()):
            match command:
                case RestartAgent():
                    await self._answer_restart(command)
                case UnknownCommand():
                    await self._reject(command.id, f"this agent does not support {command.kind}")
                case CancelDeployment() | ApproveStage() | SkipStage():
                    await self._answer_if_deployment_ended(command)

    async def _answer_restart(self, command: RestartAgent) -> None:
        await self._reporter.report_command_succeeded(command.id, output=command.id.encode())
        self._view.mark_finished(command.id)
        log.info("restarting", requested_by=command.commander)
        self._restart.set()

    async def _answer_if_deployment_ended(self, command: CancelDeployment | ApproveStage | SkipStage) -> None:
        if command.deployment_id in self._view.deployments:
            return
        try:
            deployment = await self._reporter.get_deployment(command.deployment_id)
        except (NotFound, PermissionDenied):
            await self._reject(command.id, "this agent has no such deployment")
            return
        if not deployment.status.final:
            return
        if isinstance(command, CancelDeployment) and deployment.status is DeploymentStatus.CANCELLED:
            await self._reporter.report_command_succeeded(command.id)
            self._view.mark_finished(command.id)
            return
        await self._reject(command.id, _already_ended(deployment))

    async def _reject(self, command_id: str, reason: str) -> None:
        log.info("command_rejected", command=command_id, reason=reason)
        await self._reporter.report_command_failed(command_id, reason)
        self._view.mark_finished(command_id)


def _already_ended(deployment: Deployment) -> str:
    return f"the deployment has already ended: {deployment.status.name}"

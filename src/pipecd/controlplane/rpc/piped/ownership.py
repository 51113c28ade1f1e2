"""Ownership checks: load records of the calling agent. Raises PermissionDenied for those of another agent."""

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.services import Services
from pipecd.errors import PermissionDenied
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment


async def get_application(services: Services, agent: Agent, application_id: str) -> Application:
    application = (await services.store.get(Application, application_id)).message
    check_application(agent, application)
    return application


async def get_deployment(services: Services, agent: Agent, deployment_id: str) -> Deployment:
    deployment = (await services.store.get(Deployment, deployment_id)).message
    check_deployment(agent, deployment)
    return deployment


def check_application(agent: Agent, application: Application) -> None:
    _check(agent, application.piped_id, application.project_id, f"application {application.id}")


def check_deployment(agent: Agent, deployment: Deployment) -> None:
    _check(agent, deployment.piped_id, deployment.project_id, f"deployment {deployment.id}")


def check_command(agent: Agent, command: Command) -> None:
    _check(agent, command.piped_id, agent.project_id, f"command {command.id}")


def _check(agent: Agent, piped_id: str, project_id: str, what: str) -> None:
    if (piped_id, project_id) != (agent.piped_id, agent.project_id):
        raise PermissionDenied(f"{what} does not belong to piped {agent.piped_id}")

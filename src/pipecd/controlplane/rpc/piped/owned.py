"""What belongs to the calling agent: looked up, and refused where it is somebody else's."""

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.services import Plane
from pipecd.errors import PermissionDenied
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.command_pb2 import Command
from pipecd.schema.model.deployment_pb2 import Deployment


async def application(plane: Plane, agent: Agent, application_id: str) -> Application:
    found = (await plane.store.get(Application, application_id)).message
    check_application(agent, found)
    return found


async def deployment(plane: Plane, agent: Agent, deployment_id: str) -> Deployment:
    found = (await plane.store.get(Deployment, deployment_id)).message
    check_deployment(agent, found)
    return found


def check_application(agent: Agent, found: Application) -> None:
    _check(agent, found.piped_id, found.project_id, f"application {found.id}")


def check_deployment(agent: Agent, found: Deployment) -> None:
    _check(agent, found.piped_id, found.project_id, f"deployment {found.id}")


def check_command(agent: Agent, found: Command) -> None:
    _check(agent, found.piped_id, agent.project_id, f"command {found.id}")


def _check(agent: Agent, piped_id: str, project_id: str, what: str) -> None:
    if (piped_id, project_id) != (agent.piped_id, agent.project_id):
        raise PermissionDenied(f"{what} does not belong to piped {agent.piped_id}")

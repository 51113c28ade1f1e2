"""Records as an agent would create them, for pages with many records or rare states."""

from pipecd.client import Client
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from tests.controlplane.server_fixture import PROJECT
from tests.world import REPOSITORY, World


async def report_repository(agent: Client) -> None:
    """Reports the agent's repository, which applications need to be registered."""
    repository = ApplicationGitRepository(id=REPOSITORY, remote="https://git.example/shop.git", branch="main")
    await agent.call(
        agent.piped.ReportPipedMeta, ReportPipedMetaRequest(version="0.1.0", repositories=[repository])
    )


def build_deployment(w: World, application_id: str, name: str, *, at: int) -> Deployment:
    """A pending deployment of the application `name`, created at `at` (seconds since 1970)."""
    commit = Commit(hash="c0ffee1234", message=f"Change {name}", author="ada", branch="main", created_at=at)
    return Deployment(
        id=f"deployment-of-{name}",
        application_id=application_id,
        application_name=name,
        piped_id=w.piped_id,
        project_id=PROJECT,
        kind=TERRAFORM,
        git_path=ApplicationGitPath(repo=ApplicationGitRepository(id=REPOSITORY), path=name),
        trigger=DeploymentTrigger(commit=commit, timestamp=at),
        created_at=at,
        updated_at=at,
    )

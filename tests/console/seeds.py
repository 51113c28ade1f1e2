"""Records as an agent would have made them, for pages that show many or rare ones."""

from pipecd.client import Client
from pipecd.schema.agent.pipeds_pb2 import ReportPipedMetaRequest
from pipecd.schema.model.deployment_pb2 import Deployment
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import TERRAFORM
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from tests.controlplane.server_fixture import PROJECT
from tests.world import REPOSITORY, World


async def repository(agent: Client) -> None:
    """The agent says which repository it watches, so that applications can be registered."""
    watched = ApplicationGitRepository(id=REPOSITORY, remote="https://git.example/shop.git", branch="main")
    await agent.call(
        agent.piped.ReportPipedMeta, ReportPipedMetaRequest(version="0.1.0", repositories=[watched])
    )


def deployment(w: World, application_id: str, name: str, *, at: int) -> Deployment:
    """A pending one of the application `name`, made at `at` (seconds since 1970)."""
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

"""Requests are validated by the rules in the schema."""

import pytest

from pipecd.controlplane.rpc.validation import validate
from pipecd.errors import Refused
from pipecd.schema.agent import deployments_pb2
from pipecd.schema.model import access_pb2, event_pb2
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.web import applications_pb2, pipeds_pb2, project_pb2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (applications_pb2.GetApplicationRequest(), "application_id must not be empty"),
        (applications_pb2.AddApplicationRequest(name="a", piped_id="p"), "git_path is required"),
        (
            pipeds_pb2.UpdatePipedDesiredVersionRequest(version="1", piped_ids=["p"]),
            "does not start with 'v'",
        ),
        (pipeds_pb2.UpdatePipedDesiredVersionRequest(version="v1"), "at least 1 item"),
        (
            deployments_pb2.ReportDeploymentStatusChangedRequest(
                deployment_id="d", status=DeploymentStatus.DEPLOYMENT_SUCCESS
            ),
            "must be one of",
        ),
        (
            project_pb2.AddProjectRBACRoleRequest(
                name="r",
                policies=[access_pb2.ProjectRBACPolicy(actions=[access_pb2.ProjectRBACPolicy.GET])],
            ),
            r"policies\[0\].resources requires at least 1",
        ),
        (
            event_pb2.Event(
                id="e",
                name="n",
                data="d",
                project_id="p",
                event_key="k",
                contexts={"not ok!": "x"},
                created_at=1,
                updated_at=1,
            ),
            "contexts: key 'not ok!'",
        ),
    ],
)
def test_a_violated_rule_is_reported_with_its_field(request_: object, message: str) -> None:
    with pytest.raises(Refused, match=message):
        validate(request_)  # type: ignore[arg-type]


def test_a_valid_request_is_accepted() -> None:
    validate(applications_pb2.GetApplicationRequest(application_id="a"))
    validate(pipeds_pb2.UpdatePipedDesiredVersionRequest(version="v1", piped_ids=["p"]))

"""How often an application is looked at."""

import pytest

from pipecd.model.application import Application, ApplicationKind, DeploymentReference, GitPath
from pipecd.piped.observe.live_state import AT_REST, SETTLED, Deployments, until_next
from pipecd.platforms import Observes, platform


@pytest.mark.parametrize(
    ("kind", "deploying", "saw", "rest", "seconds"),
    [
        pytest.param("TERRAFORM", False, None, 1, 300.0, id="seldom, because Terraform is started"),
        pytest.param("TERRAFORM", True, ("d1", True), 1, 300.0, id="no oftener while a plan waits for days"),
        pytest.param("TERRAFORM", False, ("d1", True), 1, SETTLED, id="at once when a deployment has ended"),
        pytest.param(
            "TERRAFORM", False, ("d0", False), 4, SETTLED, id="at once after one that nobody saw run"
        ),
        pytest.param("TERRAFORM", False, ("d1", False), AT_REST, 1200.0, id="more seldom at rest"),
        pytest.param("LAMBDA", True, ("d0", False), 1, 5.0, id="people watch traffic shift"),
        pytest.param("LAMBDA", False, ("d1", False), 2, 30.0, id="a call to AWS is cheap, not free"),
    ],
)
def test_the_next_look_is_due(
    kind: str, deploying: bool, saw: Deployments | None, rest: int, seconds: float
) -> None:
    application = Application(
        id="a",
        name="shop",
        piped_id="p",
        project_id="j",
        kind=ApplicationKind[kind],
        git_path=GitPath(repo_id="r", path="."),
        deploying=deploying,
        last_triggered=DeploymentReference(deployment_id="d1", commit="c"),
    )
    observes = platform(kind)
    assert isinstance(observes, Observes)
    assert until_next(observes, application, saw=saw, rest=rest) == seconds

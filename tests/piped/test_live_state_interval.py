"""How often the live state of an application is checked."""

import pytest

from pipecd.model.application import Application, DeploymentReference, GitPath
from pipecd.piped.observe.live_state import (
    AFTER_DEPLOYMENT_DELAY,
    MAX_IDLE_FACTOR,
    DeploymentState,
    next_check_delay,
)
from pipecd.platforms.registry import load_platform


@pytest.mark.parametrize(
    ("kind", "deploying", "checked", "idle_factor", "seconds"),
    [
        pytest.param("TERRAFORM", False, None, 1, 300.0, id="rarely, because Terraform is started"),
        pytest.param(
            "TERRAFORM", True, ("d1", True), 1, 300.0, id="not more often while a plan waits for approval"
        ),
        pytest.param(
            "TERRAFORM",
            False,
            ("d1", True),
            1,
            AFTER_DEPLOYMENT_DELAY,
            id="immediately when a deployment has ended",
        ),
        pytest.param(
            "TERRAFORM",
            False,
            ("d0", False),
            4,
            AFTER_DEPLOYMENT_DELAY,
            id="immediately after a deployment that was never seen running",
        ),
        pytest.param("TERRAFORM", False, ("d1", False), MAX_IDLE_FACTOR, 1200.0, id="less often when idle"),
        pytest.param("LAMBDA", True, ("d0", False), 1, 5.0, id="often while a deployment shifts traffic"),
        pytest.param(
            "LAMBDA", False, ("d1", False), 2, 30.0, id="an AWS call is cheap but not free when idle"
        ),
    ],
)
def test_the_next_check_is_due(
    kind: str, deploying: bool, checked: DeploymentState | None, idle_factor: int, seconds: float
) -> None:
    application = Application(
        id="a",
        name="shop",
        piped_id="p",
        project_id="j",
        kind=kind,
        git_path=GitPath(repo_id="r", path="."),
        deploying=deploying,
        last_triggered=DeploymentReference(deployment_id="d1", commit="c"),
    )
    observes = load_platform(kind).observes
    assert observes
    delay = next_check_delay(observes, application, checked=checked, idle_factor=idle_factor)
    assert delay == seconds

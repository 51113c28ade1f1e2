"""Live state of Terraform in the console, with a real control plane and a real agent."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Resource
from pipecd.piped.settings import LiveStateSettings
from pipecd.platforms.terraform import binary
from pipecd.platforms.terraform.live import load_live_state
from pipecd.schema.model.deployment_pb2 import DeploymentStatus as Status
from tests.controlplane.server_fixture import CallFailed
from tests.eventually import eventually
from tests.platforms.altered import alter_platform
from tests.platforms.terraform.shop import app_file, configuration, data
from tests.world import SETTINGS, ConsoleUser, world

CANARY = "canary-51d0aa"
PROVIDERS = [{"name": "terraform", "type": "TERRAFORM"}]
NET = 'variable "name" {\n}\nresource "terraform_data" "each" {\n  for_each = toset(["a", "b"])\n}\n'
MODULE = 'module "net" {\n  source = "./net"\n  name   = "x"\n}\n'


async def load_resources(person: ConsoleUser, app: str) -> Sequence[Any]:
    try:
        response = await person.console.call("GetApplicationLiveState", application_id=app)
    except CallFailed as error:
        raise AssertionError(error) from error
    assert CANARY not in str(response)
    return list(response.snapshot.application_live_state.resources)


async def wait_for_resources(person: ConsoleUser, app: str, *expected: str) -> Sequence[Any]:
    """The resources, when they are the expected ones."""

    async def current_resources() -> Sequence[Any] | None:
        resources = await load_resources(person, app)
        assert [resource.id for resource in resources] == list(expected)
        return resources

    resources = await eventually(current_resources)
    assert resources is not None
    return resources


async def test_the_tree_follows_each_deployment(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # The polling interval is minutes, so changes are seen here only because a deployment ended.
    state = tmp_path / "state"
    with structlog.testing.capture_logs() as logs:
        async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
            files = {
                "app.pipecd.yaml": app_file(),
                "main.tf": configuration(state, MODULE + data("a", f"{CANARY}-1")),
                "net/main.tf": NET,
            }
            app = await w.add_application("shop", files)
            assert (await w.wait_for_deployment(app)).status == Status.DEPLOYMENT_SUCCESS
            net = ("module.net", 'module.net.terraform_data.each["a"]', 'module.net.terraform_data.each["b"]')
            resources = await wait_for_resources(w, app, net[0], "terraform_data.a", *net[1:])
            assert {(resource.resource_type, resource.health_status) for resource in resources} == {
                ("module", 1),
                ("terraform_data", 1),
            }
            assert [list(resource.parent_ids) for resource in resources] == [
                [],
                [],
                ["module.net"],
                ["module.net"],
            ]

            more = configuration(state, MODULE + data("a", f"{CANARY}-1") + data("b", f"{CANARY}-2"))
            commit = await w.push("Add b", {"shop/main.tf": more})
            assert (await w.wait_for_deployment(app, commit)).status == Status.DEPLOYMENT_SUCCESS
            await wait_for_resources(w, app, net[0], "terraform_data.a", "terraform_data.b", *net[1:])

            broken = data("c", "1").replace("}", 'provisioner "local-exec" {\n    command = "exit 1"\n  }\n}')
            commit = await w.push("Fail", {"shop/main.tf": configuration(state, broken)})
            assert (await w.wait_for_deployment(app, commit)).status == Status.DEPLOYMENT_FAILURE

            async def tainted() -> bool:
                # A check during the deployment may still have reported it as healthy.
                resources = [
                    (resource.id, resource.health_status, resource.health_description[:8])
                    for resource in await load_resources(w, app)
                ]
                assert resources == [("terraform_data.c", 2, "Tainted:")], resources
                return True

            await eventually(tainted)
    assert CANARY in state.with_name("state.backup").read_text() + state.read_text()
    assert CANARY not in str(logs)
    output = capfd.readouterr()
    assert CANARY not in output.out + output.err


async def test_the_result_of_a_deployment_is_seen_even_if_checked_during_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, checks = tmp_path / "gate", []

    async def counted(request: ObservationRequest) -> Sequence[Resource]:
        checks.append(request)
        return await load_live_state(request)

    alter_platform(monkeypatch, "TERRAFORM", observes={"load": counted})
    settings = replace(SETTINGS, live_state=LiveStateSettings(interval_deploying=0.2))
    waits = {"name": "SCRIPT_RUN", "with": {"run": f"while [ ! -e {gate} ]; do sleep 0.1; done"}}
    file = app_file([waits, "TERRAFORM_APPLY"])
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS, settings=settings):
        main = configuration(tmp_path / "state", data("a", "1"))
        app = await w.add_application("shop", {"app.pipecd.yaml": file, "main.tf": main})

        async def deployment_running() -> bool:
            return any(stage.status for deployment in await w.deployments(app) for stage in deployment.stages)

        await eventually(deployment_running)
        before = len(checks)

        async def checked() -> bool:
            return len(checks) > before + 1

        await eventually(checked)
        assert not await load_resources(w, app)
        gate.touch()
        assert (await w.wait_for_deployment(app)).status == Status.DEPLOYMENT_SUCCESS
        await wait_for_resources(w, app, "terraform_data.a")


async def test_a_failed_check_is_logged_once_and_retried(tmp_path: Path) -> None:
    settings = replace(SETTINGS, live_state=LiveStateSettings(interval=0.2))
    calls = tmp_path / "calls"
    program = tmp_path / "terraform.sh"
    program.write_text(
        f'#!/bin/sh\necho "$1" >>{calls}\nexec {sys.executable} -I {binary._EMBEDDED_PROGRAM} "$@"\n'
    )
    program.chmod(0o755)
    config = {"binary": str(program), "driftDetectionEnabled": False}
    providers = [{"name": "terraform", "type": "TERRAFORM", "config": config}]

    def inits() -> int:
        return calls.read_text().count("init")

    with structlog.testing.capture_logs() as logs:
        async with world(tmp_path) as w, w.agent(platformProviders=providers, settings=settings):
            broken = configuration(tmp_path / "state", 'module "gone" {\n  source = "./gone"\n}\n')
            app = await w.add_application("shop", {"app.pipecd.yaml": app_file(), "main.tf": broken})
            assert (await w.wait_for_deployment(app)).status == Status.DEPLOYMENT_FAILURE
            before = inits()

            async def checked_again() -> bool:
                return inits() > before + 2

            await eventually(checked_again)
            # Read before a check succeeds, after which a later failure would be logged again.
            failures = [
                log for log in logs if log["event"] == "check_failed" and log["log_level"] == "warning"
            ]
            good = configuration(tmp_path / "state", data("a", "1"))
            commit = await w.push("Fix", {"shop/main.tf": good})
            assert (await w.wait_for_deployment(app, commit)).status == Status.DEPLOYMENT_SUCCESS
            await wait_for_resources(w, app, "terraform_data.a")
    assert [log["loop"] for log in failures] == ["live state"]
    assert failures[0]["error"].startswith("terraform init: Unreadable module directory; run it in ")
    assert not [log for log in logs if log["event"] == "unhandled_error"]

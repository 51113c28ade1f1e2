"""What Terraform made, message to the console by a real agent through a real control plane."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipecd.model.observation import ObservationRequest
from pipecd.model.resource import Resource
from pipecd.platforms.terraform import binary, platform
from pipecd.schema.model.deployment_pb2 import DeploymentStatus as Status
from tests.controlplane.server_fixture import CallFailed
from tests.eventually import eventually
from tests.platforms.terraform.shop import app_file, configuration, data
from tests.world import ConsoleUser, world

CANARY = "canary-51d0aa"
PROVIDERS = [{"name": "terraform", "type": "TERRAFORM", "config": {"binary": "embedded"}}]
NET = 'variable "name" {\n}\nresource "terraform_data" "each" {\n  for_each = toset(["a", "b"])\n}\n'
MODULE = 'module "net" {\n  source = "./net"\n  name   = "x"\n}\n'


async def shown(person: ConsoleUser, app: str) -> Sequence[Any]:
    try:
        answer = await person.console.call("GetApplicationLiveState", application_id=app)
    except CallFailed as error:
        raise AssertionError(error) from error
    assert CANARY not in str(answer)
    return list(answer.snapshot.application_live_state.resources)


async def tree(person: ConsoleUser, app: str, *wanted: str) -> Sequence[Any]:
    """The resources, once they are these."""

    async def look() -> Sequence[Any] | None:
        found = await shown(person, app)
        assert [one.id for one in found] == list(wanted)
        return found

    found = await eventually(look)
    assert found is not None
    return found


async def test_the_tree_follows_each_deployment(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # The platform's own interval is minutes: what is seen here, is seen because a deployment ended.
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
            found = await tree(w, app, net[0], "terraform_data.a", *net[1:])
            assert {(one.resource_type, one.health_status) for one in found} == {
                ("module", 1),
                ("terraform_data", 1),
            }
            assert [list(one.parent_ids) for one in found] == [[], [], ["module.net"], ["module.net"]]

            more = configuration(state, MODULE + data("a", f"{CANARY}-1") + data("b", f"{CANARY}-2"))
            commit = await w.push("Add b", {"shop/main.tf": more})
            assert (await w.wait_for_deployment(app, commit)).status == Status.DEPLOYMENT_SUCCESS
            await tree(w, app, net[0], "terraform_data.a", "terraform_data.b", *net[1:])

            broken = data("c", "1").replace("}", 'provisioner "local-exec" {\n    command = "exit 1"\n  }\n}')
            commit = await w.push("Fail", {"shop/main.tf": configuration(state, broken)})
            assert (await w.wait_for_deployment(app, commit)).status == Status.DEPLOYMENT_FAILURE

            async def tainted() -> bool:
                # A look in the middle of the deployment may have found it sound still.
                found = [
                    (one.id, one.health_status, one.health_description[:8]) for one in await shown(w, app)
                ]
                assert found == [("terraform_data.c", 2, "Tainted:")], found
                return True

            await eventually(tainted)
    assert CANARY in state.with_name("state.backup").read_text() + state.read_text()
    assert CANARY not in str(logs)
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err


async def test_what_a_deployment_left_is_seen_also_when_somebody_looked_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "live_interval_deploying", 0.2)
    gate, looks, live = tmp_path / "gate", [], platform.live

    async def counted(look: ObservationRequest) -> Sequence[Resource]:
        looks.append(look)
        return await live(look)

    monkeypatch.setattr(platform, "live", counted)
    waits = {"name": "SCRIPT_RUN", "with": {"run": f"while [ ! -e {gate} ]; do sleep 0.1; done"}}
    file = app_file([waits, "TERRAFORM_APPLY"])
    async with world(tmp_path) as w, w.agent(platformProviders=PROVIDERS):
        main = configuration(tmp_path / "state", data("a", "1"))
        app = await w.add_application("shop", {"app.pipecd.yaml": file, "main.tf": main})

        async def at_work() -> bool:
            return any(stage.status for one in await w.deployments(app) for stage in one.stages)

        await eventually(at_work)
        before = len(looks)

        async def looked() -> bool:
            return len(looks) > before + 1

        await eventually(looked)
        assert not await shown(w, app)
        gate.touch()
        assert (await w.wait_for_deployment(app)).status == Status.DEPLOYMENT_SUCCESS
        await tree(w, app, "terraform_data.a")


async def test_what_cannot_be_looked_at_says_so_once_and_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "live_interval", 0.2)
    monkeypatch.setattr(platform, "drift_interval", 3600.0)
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
        async with world(tmp_path) as w, w.agent(platformProviders=providers):
            gone = configuration(tmp_path / "state", 'module "gone" {\n  source = "./gone"\n}\n')
            app = await w.add_application("shop", {"app.pipecd.yaml": app_file(), "main.tf": gone})
            assert (await w.wait_for_deployment(app)).status == Status.DEPLOYMENT_FAILURE
            before = inits()

            async def looked_again() -> bool:
                return inits() > before + 2

            await eventually(looked_again)
            # Once it can be looked at, a later failure would be news.
            message = [one for one in logs if one["event"] == "check_failed" and one["log_level"] == "warning"]
            good = configuration(tmp_path / "state", data("a", "1"))
            commit = await w.push("Mend", {"shop/main.tf": good})
            assert (await w.wait_for_deployment(app, commit)).status == Status.DEPLOYMENT_SUCCESS
            await tree(w, app, "terraform_data.a")
    assert [one["loop"] for one in message] == ["live state"]
    assert message[0]["error"].startswith("terraform init: Unreadable module directory; run it in ")
    assert not [one for one in logs if one["event"] == "unhandled_error"]

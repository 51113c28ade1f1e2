"""Pinning an application to an earlier deployment: who may, when, and what removes the pin."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.controlplane.jobs import expire_commands
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.trigger_pb2 import Commit, DeploymentTrigger
from tests.actors import TESTER
from tests.controlplane.server_fixture import PROJECT, CallFailed, ControlPlane, control_plane

SUCCESS, FAILURE = DeploymentStatus.DEPLOYMENT_SUCCESS, DeploymentStatus.DEPLOYMENT_FAILURE


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as running:
        piped_id, _ = await running.register_piped()
        store = running.server.services.store
        await store.create(
            Application(id="app", name="shop", project_id=PROJECT, piped_id=piped_id), by=TESTER
        )
        for id, status in (("good", SUCCESS), ("bad", FAILURE)):
            record = Deployment(
                id=id, application_id="app", piped_id=piped_id, project_id=PROJECT, status=status
            )
            record.trigger.CopyFrom(DeploymentTrigger(commit=Commit(hash="abcdef0")))
            await store.create(record, by=TESTER)
        yield running


async def application(plane: ControlPlane) -> Application:
    return (await plane.server.services.store.get(Application, "app")).message


async def refusal(plane: ControlPlane, method: str, **fields: Any) -> str:
    with pytest.raises(CallFailed) as caught:
        await plane.console.call(method, **fields)
    return caught.value.text


async def test_a_rollback_pins_the_application_and_tells_the_agent(plane: ControlPlane) -> None:
    until = int(time.time()) + 3600
    response = await plane.console.call("RollBackTo", deployment_id="good", reason=" Slow ", until=until)
    pin = (await application(plane)).pin
    assert (pin.commit_hash, pin.deployment_id, pin.by) == ("abcdef0", "good", "hello")
    assert (pin.reason, pin.until, pin.command_id) == ("Slow", until, response.command_id)
    command = (await plane.server.services.store.get(Command, response.command_id)).message
    assert command.type == Command.ROLL_BACK_APPLICATION
    assert command.roll_back_application.target_deployment_id == "good"
    assert "is pinned to commit abcdef0 by hello" in await refusal(
        plane, "SyncApplication", application_id="app"
    )
    await plane.console.call("Unpin", application_id="app")
    await plane.console.call("Unpin", application_id="app")
    assert not (await application(plane)).HasField("pin")
    await plane.console.call("SyncApplication", application_id="app")


async def test_a_rollback_that_cannot_be_done_is_refused(plane: ControlPlane) -> None:
    store = plane.server.services.store
    assert "did not succeed" in await refusal(plane, "RollBackTo", deployment_id="bad")
    assert "has passed" in await refusal(plane, "RollBackTo", deployment_id="good", until=1)

    def of_pipecd(record: Piped) -> None:
        record.version, record.package = "v0.52.0", ""

    piped_id = (await application(plane)).piped_id
    await store.update(Piped, piped_id, of_pipecd, by=TESTER)
    assert "run this project's piped" in await refusal(plane, "RollBackTo", deployment_id="good")
    assert not (await application(plane)).HasField("pin")


async def test_a_rollback_that_no_agent_does_leaves_no_pin(plane: ControlPlane) -> None:
    response = await plane.console.call("RollBackTo", deployment_id="good")
    assert (await application(plane)).HasField("pin")

    def age(record: Command) -> None:
        record.created_at = 1

    services = plane.server.services
    await services.store.update(Command, response.command_id, age, by=TESTER)
    await expire_commands.run(services, TESTER)
    command = (await services.store.get(Command, response.command_id)).message
    assert command.status == CommandStatus.COMMAND_TIMEOUT
    assert not (await application(plane)).HasField("pin")

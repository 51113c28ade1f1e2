"""`pipectl` as people and CI run it: the program itself against a real control plane."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest

from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage
from tests.controlplane.server_fixture import PROJECT, ControlPlane
from tests.pipectl.running import REMOTE, Pipectl, add


async def test_an_application_is_added_shown_listed_and_deleted(pipectl: Pipectl, piped_id: str) -> None:
    app_id = await add(pipectl, piped_id, labels="env=prod,team=a", description="sells things")
    shown = (await pipectl("application", "get", f"--app-id={app_id}", "-o", "json")).json
    assert shown["labels"] == {"env": "prod", "team": "a"}
    assert shown["git_path"]["repo"]["remote"] == REMOTE
    assert shown["git_path"]["config_filename"] == "app.pipecd.yaml"
    table = await pipectl("application", "get", f"--app-id={app_id}")
    assert "env:prod,team:a" in table.out and "sells things" in table.out
    listed = await pipectl("application", "list", "--label", "env:prod")
    assert listed.out.splitlines()[0].split() == ["ID", "NAME", "KIND", "STATUS", "LABELS", "CHANGED"]
    assert app_id in listed.out
    nothing = await pipectl("application", "list", "--label", "env:dev")
    assert nothing.out == "" and "pipectl application add" in nothing.err
    assert (await pipectl("application", "disable", f"--app-id={app_id}")).code == 0
    assert app_id not in (await pipectl("application", "list")).out
    assert "DISABLED" in (await pipectl("application", "list", "--disabled")).out
    assert (await pipectl("application", "enable", f"--app-id={app_id}")).code == 0
    assert (await pipectl("application", "delete", f"--app-id={app_id}")).code == 0
    again = await pipectl("application", "enable", f"--app-id={app_id}")
    assert again.code == 1 and "was deleted" in again.err


async def test_pages_follow_one_another(pipectl: Pipectl, piped_id: str) -> None:
    ids = [await add(pipectl, piped_id, f"shop-{number}") for number in range(3)]
    first = (await pipectl("application", "list", "--limit=2", "-o", "json")).json
    rest = (
        await pipectl("application", "list", "--limit=2", f"--cursor={first['cursor']}", "-o", "json")
    ).json
    seen = [one["id"] for page in (first, rest) for one in page["applications"]]
    assert seen == ids[::-1]
    assert rest["cursor"] == ""


async def test_a_sync_is_waited_for(plane: ControlPlane, pipectl: Pipectl, piped_id: str) -> None:
    """This test plays the agent: it answers the command, and ends the deployment."""
    app_id = await add(pipectl, piped_id)
    store = plane.served.plane.store

    async def play(status: DeploymentStatus.ValueType) -> None:
        with store.feed.listening() as changes:
            while (change := await changes.get()).kind != "command":
                pass
        await store.create(
            Deployment(
                id=f"d-{change.id}",
                application_id=app_id,
                piped_id=piped_id,
                project_id=PROJECT,
                status=status,
                status_reason="so it ended",
            )
        )

        def handle(record: Command) -> None:
            record.status = CommandStatus.COMMAND_SUCCEEDED
            record.metadata["TriggeredDeploymentID"] = f"d-{change.id}"

        await store.update(Command, change.id, handle)

    for status, code in ((DeploymentStatus.DEPLOYMENT_SUCCESS, 0), (DeploymentStatus.DEPLOYMENT_FAILURE, 1)):
        agent = asyncio.create_task(play(status))
        ran = await pipectl(
            "application", "sync", f"--app-id={app_id}", "--wait-status=SUCCESS", "--check-interval=1s"
        )
        await agent
        assert ran.code == code, ran.err
        assert "Successfully triggered deployment d-" in ran.out
    assert "ended as FAILURE: so it ended" in ran.err


async def test_a_sync_that_nobody_answers_ends_in_time(pipectl: Pipectl, piped_id: str) -> None:
    app_id = await add(pipectl, piped_id)
    ran = await pipectl("application", "sync", f"--app-id={app_id}", "--timeout=1s", "--check-interval=1s")
    assert ran.code == 1 and "the agent did not answer within 1 s" in ran.err


async def test_deployments_are_listed_shown_and_their_logs_printed(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    stages = [PipelineStage(id="stage-0", name="WAIT", visible=True), PipelineStage(id="r", name="ROLLBACK")]
    deployment = Deployment(
        id="d1",
        application_id="a",
        application_name="shop",
        piped_id=piped_id,
        project_id=PROJECT,
        status=DeploymentStatus.DEPLOYMENT_RUNNING,
        stages=stages,
    )
    await plane.served.plane.store.create(deployment)
    lines = [
        LogBlock(index=1, log="hello\n", created_at=1),
        LogBlock(index=2, log="bad", severity=2, created_at=1),
    ]
    await plane.served.plane.logs.append(deployment, "stage-0", 0, lines)
    listed = await pipectl("deployment", "list", "--status=RUNNING", "--app-name=shop")
    assert "d1" in listed.out and "RUNNING" in listed.out
    assert "d1" not in (await pipectl("deployment", "list", "--app-name=sho")).out
    assert "d1" not in (await pipectl("deployment", "list", "--status=SUCCESS")).out
    shown = await pipectl("deployment", "get", "--deployment-id=d1")
    assert "stage-0" in shown.out and "ROLLBACK" not in shown.out
    logs = await pipectl("deployment", "logs", "--deployment-id=d1")
    assert logs.out.splitlines()[:3] == ["[WAIT] NOT_STARTED_YET", "hello", "ERROR bad"]
    waited = await pipectl("deployment", "wait-status", "--deployment-id=d1", "--status=RUNNING")
    assert waited.code == 0
    late = await pipectl(
        *("deployment", "wait-status", "--deployment-id=d1", "--status=SUCCESS"),
        *("--timeout=1s", "--check-interval=1s"),
    )
    assert late.code == 1 and "within 1 s" in late.err


async def test_agents_are_listed_and_switched(pipectl: Pipectl, piped_id: str) -> None:
    listed = await pipectl("piped", "list")
    assert piped_id in listed.out and "OFFLINE" in listed.out
    assert (await pipectl("piped", "disable", f"--piped-id={piped_id}")).code == 0
    assert piped_id not in (await pipectl("piped", "list")).out
    everybody = (await pipectl("piped", "list", "--all", "-o", "json")).json
    assert everybody["pipeds"][0]["disabled"] is True
    assert "hash" not in everybody["pipeds"][0]["keys"][0] or (
        everybody["pipeds"][0]["keys"][0]["hash"] == "redacted"
    )
    assert (await pipectl("piped", "enable", f"--piped-id={piped_id}")).code == 0


async def test_an_event_is_found_by_its_key(plane: ControlPlane, pipectl: Pipectl) -> None:
    ran = await pipectl("event", "register", "--name=image-update", "--data=v2", "--labels=b=2,a=1")
    assert ran.code == 0, ran.err
    event = (await plane.served.plane.store.get(Event, ran.out.split()[-1])).message
    assert event.event_key == hashlib.sha256(b"image-update/a:1/b:2").hexdigest()
    assert event.event_key.startswith("e37c4d1a")


async def test_a_preview_tells_which_agents_are_away(pipectl: Pipectl, piped_id: str, tmp_path: Path) -> None:
    flags = (f"--repo-remote-url={REMOTE}", "--head-branch=b", "--head-commit=c")
    out = tmp_path / "preview.json"
    ran = await pipectl("plan-preview", *flags, "--base-branch=main", f"--out={out}")
    assert ran.code == 0, ran.err
    assert "FAILED piped: home: piped home is not online" in ran.out
    assert list(json.loads(out.read_text())) == ["Applications", "FailureApplications", "FailurePipeds"]
    none = await pipectl("plan-preview", *flags, "--base-branch=other")
    assert none.code == 0 and "No agent deploys other of" in none.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["application", "get", "--app-id=nobody"], 1, "there is no application nobody"),
        (["application", "list", "--app-kind=NOPE"], 2, "TERRAFORM"),
        (["application", "list", "--label=env"], 2, "key:value"),
        (["deployment", "list", "--status=GREAT"], 2, "use one of PENDING"),
        (["application", "list", "--limit=0"], 2, "1<=x<=200"),
        (["encrypt", "--piped-id=x"], 1, "there is no secret to seal"),
    ],
)
async def test_a_mistake_is_one_sentence(
    pipectl: Pipectl, arguments: list[str], code: int, sentence: str
) -> None:
    ran = await pipectl(*arguments)
    assert (ran.code, sentence in ran.err) == (code, True), ran.err
    assert "Traceback" not in ran.err


async def test_without_a_key_or_a_control_plane_it_says_what_to_do(pipectl: Pipectl) -> None:
    address = f"--address={pipectl.plane.address}"
    keyless = await pipectl("application", "list", address, "--insecure", connected=False)
    assert keyless.code == 1 and "PIPECD_API_KEY" in keyless.err
    wrong = await pipectl("application", "list", address, "--insecure", "--api-key=a.b", connected=False)
    assert wrong.code == 1 and "the API key is wrong" in wrong.err
    nowhere = await pipectl(
        "application", "list", "--address=127.0.0.1:1", "--insecure", "--api-key=a.b", connected=False
    )
    assert nowhere.code == 1 and "does not answer within 5 s" in nowhere.err

"""Every command of `pipectl`: the program itself against a real control plane."""

import asyncio
import base64
import hashlib
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pipecd import proto_json
from pipecd.client import PipedToken, Transport, connect
from pipecd.encryption import Opener
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest, ReportCommandHandledRequest
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.model.stage_pb2 import PipelineStage
from tests.controlplane.server_fixture import PROJECT, ControlPlane, control_plane
from tests.eventually import eventually
from tests.pipectl.running import REMOTE, Pipectl, add
from tests.ports import free_ports


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

    known: set[str] = set()

    async def play(status: DeploymentStatus.ValueType) -> None:
        with store.feed.listening() as changes:
            while (change := await changes.get()).kind != "command" or change.id in known:
                pass
        known.add(change.id)
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
        (["encrypt", "--piped-id=x", "--input-file=/nowhere"], 2, "No such file"),
        (["deployment", "get", "--deployment-id=nobody"], 1, "there is no deployment nobody"),
        (["deployment", "logs", "--deployment-id=d", "-f", "-o", "json"], 2, "leave out -o json"),
        (["deployment", "wait-status", "--deployment-id=d", "--status=GREAT"], 2, "use one of PENDING"),
        (["application", "sync", "--app-id=a", "--timeout=soon"], 2, "--timeout"),
        (["event", "register", "--name=n", "--data=d", "--contexts=a b=1"], 1, "contexts"),
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
    both = await pipectl("application", "list", "--api-key=a.b")
    assert both.code == 1 and "both --api-key and --api-key-file are given" in both.err
    url = f"--address=http://{pipectl.plane.address}"
    web = await pipectl("application", "list", url, "--api-key=a.b", connected=False)
    assert web.code == 1 and f"write --address={pipectl.plane.address}" in web.err
    nowhere = await pipectl(
        "application", "list", "--address=127.0.0.1:1", "--insecure", "--api-key=a.b", connected=False
    )
    assert nowhere.code == 1 and "does not answer within 15 s" in nowhere.err


async def test_the_environment_gives_what_no_flag_gives(pipectl: Pipectl, piped_id: str) -> None:
    """And a flag wins: CI may have a key of another project in its environment."""
    key = pipectl.key_file.read_text().strip()
    host = {"PIPECD_HOST": pipectl.plane.address}
    ran = await pipectl("piped", "list", "--insecure", connected=False, env={**host, "PIPECD_API_KEY": key})
    assert piped_id in ran.out, ran.err
    wrong = {**host, "PIPECD_API_KEY": "wrong.key"}
    ran = await pipectl("piped", "list", "--insecure", connected=False, env=wrong)
    assert ran.code == 1 and "the API key is wrong" in ran.err
    assert piped_id in (await pipectl("piped", "list", env=wrong)).out
    flag = ("--insecure", f"--api-key={key}")
    assert piped_id in (await pipectl("piped", "list", *flag, connected=False, env=wrong)).out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is empty"), (b"\xff\xfe", "is not text"), (b"one\ntwo", "not one line of letters and digits")],
)
async def test_a_key_file_that_holds_no_key_is_told(pipectl: Pipectl, content: bytes, sentence: str) -> None:
    pipectl.key_file.write_bytes(content)
    ran = await pipectl("piped", "list")
    assert (ran.code, sentence in ran.err, "Traceback" in ran.err) == (1, True, False), ran.err


async def test_a_key_that_may_read_does_not_write(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    made = await plane.console.call("GenerateAPIKey", name="watcher", role=APIKey.READ_ONLY)
    pipectl.key_file.write_text(made.key)
    assert piped_id in (await pipectl("piped", "list")).out
    ran = await pipectl("piped", "disable", f"--piped-id={piped_id}")
    assert ran.code == 1 and "API key watcher may only read" in ran.err


async def test_a_sealed_secret_is_opened_to_the_byte(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    opener = Opener(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    none = await pipectl("encrypt", f"--piped-id={piped_id}", stdin="x")
    assert none.code == 1 and "spec.secretManagement" in none.err

    def report(record: Piped) -> None:
        record.secret_encryption.type = "KEY_PAIR"
        record.secret_encryption.public_key = public.decode()

    await plane.served.plane.store.update(Piped, piped_id, report)
    secret = "päss\r\nword\n"
    ran = await pipectl("encrypt", f"--piped-id={piped_id}", stdin=secret)
    assert opener.open(ran.out) == secret.encode(), ran.err
    assert "word" not in ran.out + ran.err
    file = tmp_path / "secret"
    file.write_bytes(secret.encode())
    from_file = (f"--input-file={file}", "--use-base64-encoding")
    ran = await pipectl("encrypt", f"--piped-id={piped_id}", *from_file)
    assert base64.b64decode(opener.open(ran.out)) == secret.encode()
    binary = await pipectl("encrypt", f"--piped-id={piped_id}", stdin=b"\x00\xff")
    assert binary.code == 1 and "not UTF-8 text" in binary.err


async def test_a_preview_shows_what_an_agent_answered(
    plane: ControlPlane, pipectl: Pipectl, tmp_path: Path
) -> None:
    """This test plays the agent, over the agent's own calls."""
    piped_id, key = await plane.register_piped()

    def own(record: Piped) -> None:
        record.repositories.append(ApplicationGitRepository(id="demo", remote=REMOTE, branch="main"))

    await plane.served.plane.store.update(Piped, piped_id, own)
    token = PipedToken(project_id=PROJECT, piped_id=piped_id, key=key)
    agent = await connect(plane.address, token, Transport(insecure=True))
    await agent.call(agent.piped.ReportStat, ReportStatRequest(piped_stats=b"up 1"))

    async def unhandled() -> Sequence[Command]:
        found = await agent.call(agent.piped.ListUnhandledCommands, ListUnhandledCommandsRequest())
        return found.commands

    async def play() -> Command:
        (asked,) = await eventually(unhandled)
        result = PlanPreviewCommandResult(command_id=asked.id, piped_id=piped_id)
        result.results.add(
            application_id="a1",
            application_name="shop",
            application_kind=ApplicationKind.TERRAFORM,
            plan_summary=b"1 to add",
            plan_details=b"+ resource",
        )
        handled = ReportCommandHandledRequest(
            command_id=asked.id,
            status=CommandStatus.COMMAND_SUCCEEDED,
            handled_at=plane.served.plane.now(),
            output=proto_json.dumps(result).encode(),
        )
        await agent.call(agent.piped.ReportCommandHandled, handled)
        return asked

    out = tmp_path / "preview.json"
    flags = (f"--repo-remote-url={REMOTE}", "--head-branch=b", "--head-commit=c", "--base-branch=main")
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(play())
        ran = await pipectl("plan-preview", *flags, f"--out={out}", "--piped-handle-timeout=300s")
    await agent.close()
    assert playing.result().build_plan_preview.timeout == 300
    assert ran.code == 0, ran.err
    assert "1. app: shop, kind: TERRAFORM" in ran.out and "    + resource" in ran.out
    (one,) = json.loads(out.read_text())["Applications"]
    assert (one["ApplicationName"], one["PlanSummary"], one["PipedName"]) == ("shop", "1 to add", "home")
    assert one["ApplicationURL"] == "http://console.example/applications/a1"


async def test_a_file_that_cannot_be_written_is_told_before_the_wait(
    pipectl: Pipectl, piped_id: str, tmp_path: Path
) -> None:
    flags = (f"--repo-remote-url={REMOTE}", "--head-branch=b", "--head-commit=c", "--base-branch=main")
    ran = await pipectl("plan-preview", *flags, f"--out={tmp_path}/no/such/folder.json")
    assert ran.code == 1 and "No such file or directory" in ran.err
    assert "Asked" not in ran.err


def at_work(piped_id: str) -> Deployment:
    return Deployment(
        id="d1",
        application_id="a",
        application_name="shop",
        piped_id=piped_id,
        project_id=PROJECT,
        status=DeploymentStatus.DEPLOYMENT_RUNNING,
        stages=[PipelineStage(id="stage-0", name="WAIT"), PipelineStage(id="stage-1", name="SCRIPT_RUN")],
    )


def end(record: Deployment) -> None:
    record.status = DeploymentStatus.DEPLOYMENT_FAILURE
    record.status_reason = "the script failed"


async def test_logs_are_followed_to_the_end_and_told_once(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    inner, deployment = plane.served.plane, at_work(piped_id)
    await inner.store.create(deployment)

    async def say(stage: str, index: int, text: str) -> None:
        await inner.logs.append(deployment, stage, 0, [LogBlock(index=index, log=text, created_at=1)])

    await say("stage-0", 1, "waiting")
    process = await pipectl.start("deployment", "logs", "--deployment-id=d1", "--follow")
    assert process.stdout
    lines = [await asyncio.wait_for(process.stdout.readline(), 90) for _ in range(2)]
    assert lines == [b"[WAIT]\n", b"waiting\n"]
    await say("stage-0", 2, "waited")
    assert await asyncio.wait_for(process.stdout.readline(), 90) == b"waited\n"
    await say("stage-1", 1, "it broke")
    await inner.store.update(Deployment, "d1", end)
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert out == b"[SCRIPT_RUN]\nit broke\n"
    assert (process.returncode, err.decode()) == (0, "Deployment d1 ended as FAILURE: the script failed\n")
    whole = (await pipectl("deployment", "logs", "--deployment-id=d1", "-o", "json")).json
    assert [block["log"] for block in whole["stage_logs"]["stage-0"]["blocks"]] == ["waiting", "waited"]


async def test_long_logs_are_printed_to_their_last_line(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    """More than the ten MiB that an agent takes as an answer."""
    deployment = at_work(piped_id)
    await plane.served.plane.store.create(deployment)
    for part in range(11):
        lines = [LogBlock(index=part * 100 + n + 1, log="x" * 10_000, created_at=1) for n in range(100)]
        await plane.served.plane.logs.append(deployment, "stage-0", 0, lines)
    ran = await pipectl("deployment", "logs", "--deployment-id=d1")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1 + 1100 + 1 + 1 + 1), ran.err


async def test_whoever_stops_waiting_gets_the_shells_code(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    await plane.served.plane.store.create(at_work(piped_id))
    process = await pipectl.start("deployment", "wait-status", "--deployment-id=d1", "--status=SUCCESS")
    assert process.stderr
    assert await asyncio.wait_for(process.stderr.readline(), 90) == b"Deployment d1 is RUNNING\n"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 90)
    assert (process.returncode, err) == (130, b"")


async def test_a_wait_outlives_a_restart_of_the_control_plane(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    folder.mkdir()
    ports = free_ports(2)
    async with control_plane(folder, ports=ports) as first:
        made = await first.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_ONLY)
        key_file = tmp_path / "api-key"
        key_file.write_text(made.key)
        await first.served.plane.store.create(at_work("nobody"))
        process = await Pipectl(first, key_file).start(
            *("deployment", "wait-status", "--deployment-id=d1", "--status=FAILURE", "--check-interval=200ms")
        )
        assert process.stderr
        assert await asyncio.wait_for(process.stderr.readline(), 90) == b"Deployment d1 is RUNNING\n"
    async with control_plane(folder, ports=ports) as second:
        await second.served.plane.store.update(Deployment, "d1", end)
        out, err = await asyncio.wait_for(process.communicate(), 90)
    assert (process.returncode, out) == (0, b"Deployment d1 is at FAILURE status\n"), err

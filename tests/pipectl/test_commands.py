"""Every command of `pipectl`, as a process, against a real control plane."""

import asyncio
import base64
import hashlib
import json
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pipecd import proto_json
from pipecd.client import PipedToken, Transport, connect
from pipecd.controlplane.store import Store
from pipecd.encryption import Decryptor
from pipecd.schema.agent.commands_pb2 import ListUnhandledCommandsRequest, ReportCommandHandledRequest
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.application_pb2 import Application, ApplicationSyncStatus
from pipecd.schema.model.chain_pb2 import (
    ChainApplicationRef,
    ChainBlock,
    ChainBlockStatus,
    ChainDeploymentRef,
    ChainFailurePolicy,
    ChainNode,
    ChainStatus,
    DeploymentChain,
)
from pipecd.schema.model.command_pb2 import Command, CommandStatus
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.event_pb2 import Event
from pipecd.schema.model.git_path_pb2 import ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.plan_preview_pb2 import PlanPreviewCommandResult
from pipecd.schema.model.stage_log_pb2 import LogBlock, LogSeverity
from pipecd.schema.model.stage_pb2 import PipelineStage, StageStatus
from pipecd.schema.model.trace_pb2 import DeploymentTrace
from tests.actors import TESTER
from tests.contracts.test_audit_chain import execute
from tests.controlplane.server_fixture import PROJECT, ControlPlane, control_plane
from tests.eventually import eventually
from tests.pipectl.pipectl_process import REMOTE, Pipectl, add_application
from tests.ports import free_ports


async def test_an_application_is_added_shown_listed_and_deleted(pipectl: Pipectl, piped_id: str) -> None:
    app_id = await add_application(pipectl, piped_id, labels="env=prod,team=a", description="sells things")
    shown = (await pipectl("application", "get", f"--app-id={app_id}", "-o", "json")).json
    assert shown["labels"] == {"env": "prod", "team": "a"}
    assert shown["git_path"]["repo"]["remote"] == REMOTE
    assert shown["git_path"]["config_filename"] == "app.pipecd.yaml"
    reason = "apps/shop/app.pipecd.yaml:3: spec.name is required"

    def is_invalid(record: Application) -> None:
        record.sync_state.status = ApplicationSyncStatus.INVALID_CONFIG
        record.sync_state.short_reason, record.sync_state.reason = "Invalid", reason

    await pipectl.plane.server.services.store.update(Application, app_id, is_invalid, by=TESTER)
    table = await pipectl("application", "get", f"--app-id={app_id}")
    assert f"Reason       {reason}" in table.out
    assert "env:prod,team:a" in table.out and "sells things" in table.out
    assert f"Console      http://console.example/applications/{app_id}" in table.out
    assert (await pipectl("application", "get", "--app-id=shop")).out == table.out
    as_pipecd = await pipectl("application", "get", "--app-id=shop", env={"PIPECTL_OUTPUT": "pipecd"})
    assert as_pipecd.json["kind"] == ApplicationKind.TERRAFORM and as_pipecd.out.count("\n") == 1
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
    assert (await pipectl("application", "delete", f"--app-id={app_id}")).code == 0
    again = await pipectl("application", "enable", f"--app-id={app_id}")
    assert again.code == 1 and "was deleted" in again.err


async def test_an_application_of_a_kind_without_a_number_is_added_and_shown(
    pipectl: Pipectl, piped_id: str
) -> None:
    await add_application(pipectl, piped_id)
    flags = [f"--piped-id={piped_id}", "--platform-provider=local", "--repo-id=demo", "--app-dir=web"]
    added = await pipectl("application", "add", "--app-name=web", "--app-kind=directory", *flags)
    assert added.code == 0, added.err
    app_id = added.out.split()[-1]
    fields = (await pipectl("application", "get", f"--app-id={app_id}")).out
    assert "DIRECTORY" in fields and "local" in fields
    listed = (await pipectl("application", "list", "--app-kind=DIRECTORY")).out
    assert app_id in listed and listed.count("DIRECTORY") == 1 and "TERRAFORM" not in listed
    stored = (await pipectl("application", "get", f"--app-id={app_id}", "-o", "json")).json
    # As PipeCD's console and pipectl show an application with plugins.
    assert stored["deploy_targets_by_plugin"] == {"directory": {"deploy_targets": ["local"]}}
    assert not stored.get("platform_provider")


async def test_the_cursor_continues_after_the_previous_page(pipectl: Pipectl, piped_id: str) -> None:
    ids = [await add_application(pipectl, piped_id, f"shop-{number}") for number in range(3)]
    first = (await pipectl("application", "list", "--limit=2", "-o", "json")).json
    rest = (
        await pipectl("application", "list", "--limit=2", f"--cursor={first['cursor']}", "-o", "json")
    ).json
    seen = [application["id"] for page in (first, rest) for application in page["applications"]]
    assert seen == ids[::-1]
    assert rest["cursor"] == ""


async def test_sync_waits_for_the_deployment(plane: ControlPlane, pipectl: Pipectl, piped_id: str) -> None:
    """The test acts as the agent: it handles the command and creates the finished deployment."""
    app_id = await add_application(pipectl, piped_id)
    store = plane.server.services.store

    handled_ids: set[str] = set()

    async def act_as_agent(status: DeploymentStatus.ValueType) -> None:
        with store.feed.subscribe() as changes:
            while (change := await changes.get()).kind != "command" or change.id in handled_ids:
                pass
        handled_ids.add(change.id)
        await store.create(
            Deployment(
                id=f"d-{change.id}",
                application_id=app_id,
                piped_id=piped_id,
                project_id=PROJECT,
                status=status,
                status_reason="the agent's reason",
            ),
            by=TESTER,
        )

        def handle(record: Command) -> None:
            record.status = CommandStatus.COMMAND_SUCCEEDED
            record.metadata["TriggeredDeploymentID"] = f"d-{change.id}"

        await store.update(Command, change.id, handle, by=TESTER)

    for status, code in ((DeploymentStatus.DEPLOYMENT_SUCCESS, 0), (DeploymentStatus.DEPLOYMENT_FAILURE, 1)):
        agent = asyncio.create_task(act_as_agent(status))
        result = await pipectl(
            "application", "sync", f"--app-id={app_id}", "--wait-status=SUCCESS", "--check-interval=1s"
        )
        await agent
        assert result.code == code, result.err
        assert result.out.startswith("Successfully triggered deployment d-")
        assert "See http://console.example/deployments/d-" in result.err
    assert "ended as FAILURE: the agent's reason" in result.err


async def act_as_agent(store: Store, **metadata: str) -> Command:
    """Handles the next command."""
    with store.feed.subscribe() as changes:
        while True:
            change = await changes.get()
            # A change may also be the end of an earlier command.
            if change.kind == "command" and not (await store.get(Command, change.id)).message.status:
                break

    def handle(record: Command) -> None:
        record.status = CommandStatus.COMMAND_SUCCEEDED
        record.metadata.update(metadata)

    return (await store.update(Command, change.id, handle, by=TESTER)).message


async def test_a_deployment_is_approved_and_rejected_with_a_comment(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    store = plane.server.services.store
    waiting = PipelineStage(id="s", name="WAIT_APPROVAL", status=StageStatus.STAGE_RUNNING)
    deployment = Deployment(
        id="d",
        application_id="a",
        piped_id=piped_id,
        project_id=PROJECT,
        status=DeploymentStatus.DEPLOYMENT_RUNNING,
        stages=[waiting],
    )
    await store.create(deployment, by=TESTER)

    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(act_as_agent(store))
        await asyncio.sleep(0)
        result = await pipectl("deployment", "approve", "--deployment-id=d", "--comment=Looks good")
        assert (result.code, result.out) == (0, "Approved stage s of deployment d\n"), result.err
    assert agent.result().approve_stage.comment == "Looks good"
    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(act_as_agent(store))
        await asyncio.sleep(0)
        result = await pipectl("deployment", "reject", "--deployment-id=d", "--comment=Too risky")
        assert (result.code, result.out) == (0, "Rejected deployment d\n"), result.err
    rejected = agent.result().cancel_deployment
    assert (rejected.rejected_stage_id, rejected.comment) == ("s", "Too risky")


async def test_an_application_is_rolled_back_and_unpinned(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    store, app_id = plane.server.services.store, await add_application(pipectl, piped_id)
    deployment = Deployment(
        id="d",
        application_id=app_id,
        piped_id=piped_id,
        project_id=PROJECT,
        status=DeploymentStatus.DEPLOYMENT_SUCCESS,
    )
    deployment.trigger.commit.hash = "abcdef0123"
    await store.create(deployment, by=TESTER)
    async with asyncio.TaskGroup() as tasks:
        agent = tasks.create_task(act_as_agent(store, TriggeredDeploymentID="new"))
        await asyncio.sleep(0)
        options = (
            "--app-id=shop",
            "--deployment-id=d",
            "--reason=Slow",
            "--for=24h",
            "--strategy=quick-sync",
        )
        result = await pipectl("application", "rollback", *options)
        assert (result.code, result.out) == (
            0,
            "Pinned the application; successfully triggered deployment new\n",
        ), result.err
    payload = agent.result().roll_back_application
    assert (payload.target_deployment_id, payload.reason, payload.sync_strategy) == ("d", "Slow", 1)
    shown = await pipectl("application", "get", "--app-id=shop")
    assert re.search(r"to abcdef0 by API key ci until \d{4}-\d\d-\d\d \d\d:\d\d UTC: Slow", shown.out), (
        shown.out
    )
    assert (await pipectl("application", "unpin", "--app-id=shop")).code == 0
    assert not (await store.get(Application, app_id)).message.HasField("pin")


async def test_a_sync_without_an_agent_times_out(pipectl: Pipectl, piped_id: str) -> None:
    app_id = await add_application(pipectl, piped_id)
    result = await pipectl("application", "sync", f"--app-id={app_id}", "--timeout=1s", "--check-interval=1s")
    assert result.code == 1 and "the piped did not handle the command within 1 s" in result.err


async def test_deployments_are_listed_shown_and_their_logs_printed(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    stages = [PipelineStage(id="stage-0", name="WAIT"), PipelineStage(id="r", name="ROLLBACK")]
    deployment = Deployment(
        id="d1",
        application_id="a",
        application_name="shop",
        piped_id=piped_id,
        project_id=PROJECT,
        status=DeploymentStatus.DEPLOYMENT_RUNNING,
        stages=stages,
    )
    await plane.server.services.store.create(deployment, by=TESTER)
    lines = [
        LogBlock(index=1, log="hello\n", created_at=1),
        LogBlock(index=2, log="bad", severity=LogSeverity.ERROR, created_at=1),
    ]
    await plane.server.services.logs.append(deployment, "stage-0", 0, lines)
    listed = await pipectl("deployment", "list", "--status=RUNNING", "--app-name=shop")
    assert "d1" in listed.out and "RUNNING" in listed.out
    assert "d1" not in (await pipectl("deployment", "list", "--app-name=sho")).out
    assert "d1" not in (await pipectl("deployment", "list", "--status=SUCCESS")).out
    shown = await pipectl("deployment", "get", "--deployment-id=d1")
    assert "stage-0" in shown.out and "ROLLBACK" not in shown.out
    assert "http://console.example/deployments/d1" in shown.out
    logs = await pipectl("deployment", "logs", "--deployment-id=d1")
    assert logs.out.splitlines()[:3] == ["[WAIT] NOT_STARTED_YET", "hello", "ERROR bad"]
    waited = await pipectl("deployment", "wait-status", "--deployment-id=d1", "--status=RUNNING")
    assert waited.code == 0
    late = await pipectl(
        *("deployment", "wait-status", "--deployment-id=d1", "--status=SUCCESS"),
        *("--timeout=1s", "--check-interval=1s"),
    )
    assert late.code == 1 and "within 1 s" in late.err


async def test_agents_are_listed_enabled_and_disabled(pipectl: Pipectl, piped_id: str) -> None:
    listed = await pipectl("piped", "list")
    assert piped_id in listed.out and "OFFLINE" in listed.out
    assert (await pipectl("piped", "disable", f"--piped-id={piped_id}")).code == 0
    assert piped_id not in (await pipectl("piped", "list")).out
    all_agents = (await pipectl("piped", "list", "--all", "-o", "json")).json
    assert all_agents["pipeds"][0]["disabled"] is True
    assert "hash" not in all_agents["pipeds"][0]["keys"][0] or (
        all_agents["pipeds"][0]["keys"][0]["hash"] == "redacted"
    )
    assert (await pipectl("piped", "enable", f"--piped-id={piped_id}")).code == 0


async def test_chains_and_traces_are_listed_and_shown(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    store = plane.server.services.store
    status = DeploymentStatus.DEPLOYMENT_SUCCESS
    ref = ChainDeploymentRef(deployment_id=f"{1:08}-0000-4000-8000-000000000000", status=status)
    waiting = ChainDeploymentRef(
        deployment_id="d2", status=DeploymentStatus.DEPLOYMENT_PENDING, status_reason="waits for block 1"
    )
    blocks: Sequence[tuple[ChainBlockStatus.ValueType, Sequence[tuple[str, ChainDeploymentRef | None]]]] = [
        (ChainBlockStatus.DEPLOYMENT_BLOCK_SUCCESS, [("shop", ref)]),
        (ChainBlockStatus.DEPLOYMENT_BLOCK_PENDING, [("api", waiting), ("web", None)]),
    ]
    chain = DeploymentChain(
        id="0123abcd-0000-4000-8000-000000000000",
        project_id=PROJECT,
        on_failure=ChainFailurePolicy.CHAIN_FAILURE_CANCEL,
        status=ChainStatus.DEPLOYMENT_CHAIN_RUNNING,
        blocks=[
            ChainBlock(
                status=block_status,
                nodes=[
                    ChainNode(
                        application_ref=ChainApplicationRef(application_id=name, application_name=name),
                        deployment_ref=each,
                    )
                    for name, each in block
                ],
            )
            for block_status, block in blocks
        ],
        created_at=1,
        updated_at=1,
    )
    traces = [
        DeploymentTrace(
            id=commit, project_id=PROJECT, title=title, commit_hash=commit * 5, author="ada", created_at=1,
            commit_url="https://git.example/x", commit_timestamp=1_700_000_000, updated_at=1,
        )
        for commit, title in (("abcdef12", "Fix the basket"), ("abcdef34", "Not deployed"))
    ]  # fmt: skip
    deployment = Deployment(
        id="d1", project_id=PROJECT, application_id="a", application_name="shop", piped_id=piped_id,
        status=status, deployment_trace_commit_hash="ff", created_at=1, updated_at=1,
        deployment_trace_commit_hashes=["ff", "abcdef12" * 5],
    )  # fmt: skip
    await store.create(chain, *traces, deployment, by=TESTER)

    listed = await pipectl("chain", "list")
    assert listed.code == 0, listed.err
    assert listed.out.splitlines()[1].startswith(f"{chain.id}  RUNNING  shop → api, web  ")
    shown = await pipectl("chain", "get", "--chain-id=0123abcd")
    assert shown.code == 0, shown.err
    lines = [re.split(r" {2,}", line.strip()) for line in shown.out.splitlines()]
    assert ["On failure", "cancel"] in lines
    assert lines[-3:] == [
        ["1 SUCCESS", "shop", "SUCCESS", ref.deployment_id],
        ["2 PENDING", "api", "PENDING", "d2", "waits for block 1"],
        ["web", "no deployment yet"],
    ]
    as_json = json.loads((await pipectl("chain", "get", f"--chain-id={chain.id}", "-o", "json")).out)
    assert as_json["on_failure"] == "CHAIN_FAILURE_CANCEL"
    missing = await pipectl("chain", "get", "--chain-id=0123abcd-0000-4000-8000-000000000001")
    assert missing.code == 1 and "chain" in missing.err

    listed = await pipectl("trace", "list", "-o", "wide")
    assert listed.code == 0, listed.err
    commits = {line.split()[0]: line for line in listed.out.splitlines()[1:]}
    assert "Fix the basket  ada     shop SUCCESS" in commits["abcdef12" * 5]
    assert "Not deployed" in commits["abcdef34" * 5] and "shop" not in commits["abcdef34" * 5]
    shown = await pipectl("trace", "get", "--commit=abcdef12")
    assert "2023-11-14 22:13:20 UTC" in shown.out
    assert shown.out.splitlines()[-1].split()[:3] == ["d1", "shop", "SUCCESS"]
    assert "No deployment has followed yet." in (await pipectl("trace", "get", "--commit=abcdef34")).err
    assert "is not unique" in (await pipectl("trace", "get", "--commit=abcdef")).err
    assert "no event has named the commit 99" in (await pipectl("trace", "get", "--commit=99")).err


async def test_an_event_is_stored_with_its_key(plane: ControlPlane, pipectl: Pipectl) -> None:
    result = await pipectl("event", "register", "--name=image-update", "--data=v2", "--labels=b=2,a=1")
    assert result.code == 0, result.err
    event = (await plane.server.services.store.get(Event, result.out.split()[-1])).message
    assert event.event_key == hashlib.sha256(b"image-update/a:1/b:2").hexdigest()
    assert event.event_key.startswith("e37c4d1a")

    def report(record: Event) -> None:
        record.results.add(repo_id="r", watcher="f#0", name="shop", status=1, pull_request_url="https://x/1")
        record.results.add(repo_id="r", watcher="f#1", name="web", status=2, description="no such file")

    await plane.server.services.store.update(Event, event.id, report, by=TESTER)
    listed = await pipectl(
        "event", "list", "--name=UPDATE", "--status=not_handled", "--label=a:1", "-o", "wide"
    )
    assert listed.code == 0, listed.err
    assert listed.out.splitlines()[0].split() == [
        "ID",
        "NAME",
        "DATA",
        "STATUS",
        "RESULT",
        "REGISTERED",
        "LABELS",
    ]
    assert "shop: https://x/1; web: no such file" in listed.out and "a:1,b:2" in listed.out
    assert (await pipectl("event", "list", "--name=other")).out == ""
    assert "is not one of NOT_HANDLED, SUCCESS" in (await pipectl("event", "list", "--status=x")).err


async def test_a_preview_reports_offline_agents(pipectl: Pipectl, piped_id: str, tmp_path: Path) -> None:
    flags = (f"--repo-remote-url={REMOTE}", "--head-branch=b", "--head-commit=c")
    out = tmp_path / "preview.json"
    result = await pipectl("plan-preview", *flags, "--base-branch=main", f"--out={out}")
    assert result.code == 0, result.err
    assert "FAILED piped: home: piped home is not online" in result.out
    assert list(json.loads(out.read_text())) == ["Applications", "FailureApplications", "FailurePipeds"]
    none = await pipectl("plan-preview", *flags, "--base-branch=other")
    assert none.code == 0 and "No piped deploys other of" in none.err
    # Without an agent that was asked, nothing is known about what would change.
    assert none.out.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["application", "get", "--app-id=missing"], 1, "application missing does not exist; check its id"),
        (
            ["application", "list", "--app-kind=NOPE"],
            1,
            "use one of CLOUDRUN, ECS, KUBERNETES, LAMBDA, TERRAFORM",
        ),
        (["application", "list", "--app-kind=TERRAFORM,NOPE"], 1, "NOPE is not a valid application kind"),
        (["application", "list", "--app-kind=a b"], 2, "'A B' is not the name of a kind, such as TERRAFORM"),
        (["deployment", "list", "--app-kind=ECS,NOPE"], 1, "NOPE is not a valid application kind"),
        (["application", "list", "--label=env"], 2, "key:value"),
        (["deployment", "list", "--status=GREAT"], 2, "use one of PENDING"),
        (["application", "list", "--limit=0"], 2, "1<=x<=200"),
        (["encrypt", "--piped-id=x"], 1, "the secret is empty"),
        (["encrypt", "--piped-id=x", "--input-file=/nowhere"], 2, "No such file"),
        (
            ["deployment", "get", "--deployment-id=missing"],
            1,
            "deployment missing does not exist; check its id",
        ),
        (
            ["deployment", "logs", "--deployment-id=d", "-f", "-o", "json"],
            2,
            "cannot be combined with -o json",
        ),
        (["deployment", "wait-status", "--deployment-id=d", "--status=GREAT"], 2, "use one of PENDING"),
        (["deployment", "get"], 2, "use --deployment-id, or --app-id"),
        (["deployment", "get", "--app-id=a", "-w", "-o", "json"], 2, "cannot be combined with -o json"),
        (["piped", "list", "--profile=prod"], 1, "there is no profile prod"),
        (["application", "sync", "--app-id=a", "--timeout=soon"], 2, "--timeout"),
        (["event", "register", "--name=n", "--data=d", "--contexts=a b=1"], 1, "contexts"),
    ],
)
async def test_a_usage_error_is_one_sentence(
    pipectl: Pipectl, arguments: list[str], code: int, message: str
) -> None:
    result = await pipectl(*arguments)
    assert (result.code, message in result.err) == (code, True), result.err
    assert "Traceback" not in result.err


async def test_a_missing_key_or_control_plane_is_reported_with_a_remedy(pipectl: Pipectl) -> None:
    address = f"--address={pipectl.plane.address}"
    keyless = await pipectl("application", "list", address, "--insecure", connected=False)
    assert keyless.code == 1 and "PIPECD_API_KEY" in keyless.err
    wrong = await pipectl("application", "list", address, "--insecure", "--api-key=a.b", connected=False)
    assert wrong.code == 1 and "the API key is wrong" in wrong.err
    both = await pipectl("application", "list", "--api-key=a.b")
    assert both.code == 1 and "both an API key and a file with an API key are set" in both.err
    url = f"--address=http://{pipectl.plane.address}"
    web = await pipectl("application", "list", url, "--api-key=a.b", connected=False)
    assert web.code == 1 and f"use --address={pipectl.plane.address}" in web.err
    # The reserved name never resolves.
    no_port = await pipectl(
        "application", "list", "--address=pipecd.invalid", "--insecure", "--api-key=a.b", connected=False
    )
    assert no_port.code == 1 and "pipecd.invalid:443" in no_port.err
    nowhere = await pipectl(
        "application", "list", "--address=127.0.0.1:1", "--insecure", "--api-key=a.b", connected=False
    )
    assert (nowhere.code, nowhere.err) == (
        1,
        "pipectl: cannot connect to the control plane: nothing listens at 127.0.0.1:1; check that the control"
        " plane runs, and the address\n",
    )


async def test_environment_variables_are_used_for_flags_not_set(pipectl: Pipectl, piped_id: str) -> None:
    """A flag takes precedence: CI may have the key of another project in its environment."""
    key = pipectl.key_file.read_text().strip()
    host = {"PIPECD_HOST": pipectl.plane.address}
    result = await pipectl(
        "piped", "list", "--insecure", connected=False, env={**host, "PIPECD_API_KEY": key}
    )
    assert piped_id in result.out, result.err
    wrong = {**host, "PIPECD_API_KEY": "wrong.key"}
    result = await pipectl("piped", "list", "--insecure", connected=False, env=wrong)
    assert result.code == 1 and "the API key is wrong" in result.err
    assert piped_id in (await pipectl("piped", "list", env=wrong)).out
    flag = ("--insecure", f"--api-key={key}")
    assert piped_id in (await pipectl("piped", "list", *flag, connected=False, env=wrong)).out


async def test_every_connection_flag_can_be_set_in_the_environment_or_a_profile(
    pipectl: Pipectl, piped_id: str, tmp_path: Path
) -> None:
    environment = {
        "PIPECD_HOST": pipectl.plane.address,
        "PIPECD_API_KEY_FILE": str(pipectl.key_file),
        "PIPECD_INSECURE": "true",
        "PIPECD_CERT_FILE": "",
    }
    result = await pipectl("piped", "list", connected=False, env=environment)
    assert piped_id in result.out, result.err
    profiles = tmp_path / "pipectl.yaml"
    profiles.write_text(f"""apiVersion: pipecd.dev/v1beta1
kind: Pipectl
spec:
  defaultProfile: local
  profiles:
    local: {{address: "{pipectl.plane.address}", apiKeyFile: {pipectl.key_file.name}, insecure: true}}
    other: {{address: "127.0.0.1:1", apiKeyFile: {pipectl.key_file.name}, insecure: true}}
""")
    environment = {"PIPECTL_CONFIG": str(profiles)}
    result = await pipectl("piped", "list", connected=False, env=environment)
    assert piped_id in result.out, result.err
    for flags, variables in ((["--profile=other"], {}), ([], {"PIPECD_PROFILE": "other"})):
        result = await pipectl("piped", "list", *flags, connected=False, env={**environment, **variables})
        assert result.code == 1 and "nothing listens at 127.0.0.1:1" in result.err
    result = await pipectl("piped", "list", "--address=localhost:1", connected=False, env=environment)
    assert result.code == 1 and "no API key is set" in result.err, "the key belongs to another control plane"
    result = await pipectl(
        "piped", "list", "--profile=other", "--address=localhost:1", connected=False, env=environment
    )
    assert result.code == 2 and "name different control planes" in result.err
    result = await pipectl("piped", "list", connected=False)
    assert result.code == 2 and "no control plane is set: use --address, PIPECD_HOST" in result.err


async def test_a_shell_completes_names(pipectl: Pipectl, piped_id: str) -> None:
    await add_application(pipectl, piped_id)
    await add_application(pipectl, piped_id, "blog")
    connection = {
        "PIPECD_HOST": pipectl.plane.address,
        "PIPECD_API_KEY_FILE": str(pipectl.key_file),
        "PIPECD_INSECURE": "true",
    }
    for words, expected in (
        ("pipectl application get --app-id ", "plain,blog\nplain,shop\n"),
        ("pipectl application get --app-id s", "plain,shop\n"),
        ("pipectl deployment logs --app-id b", "plain,blog\n"),
        ("pipectl piped disable --piped-id h", "plain,home\n"),
    ):
        completion = {
            "_PIPECTL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        result = await pipectl(connected=False, env={**connection, **completion})
        assert (result.out, result.err) == (expected, ""), words
        for broken in ({}, {**connection, "PIPECD_HOST": "127.0.0.1:1"}):
            result = await pipectl(connected=False, env={**broken, **completion})
            assert (result.out.strip(), result.err) == ("", ""), "the shell is not disturbed"


async def test_a_watched_deployment_is_shown_until_it_ends(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    app_id = await add_application(pipectl, piped_id)
    deployment = running_deployment(piped_id)
    deployment.application_id = app_id
    await plane.server.services.store.create(deployment, by=TESTER)
    command = pipectl.start("deployment", "get", "--app-id=shop", "--watch")
    assert "RUNNING" in await command.output(lines=3)
    await plane.server.services.store.update(Deployment, "d1", set_failed, by=TESTER)
    result = await command.wait()
    assert result.code == 0 and "FAILURE" in result.out and "the script failed" in result.out


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\xff\xfe", "is not text"), (b"one\ntwo", "not one line of ASCII characters")],
)
async def test_a_key_file_without_a_key_is_reported(pipectl: Pipectl, content: bytes, message: str) -> None:
    pipectl.key_file.write_bytes(content)
    result = await pipectl("piped", "list")
    assert (result.code, message in result.err, "Traceback" in result.err) == (1, True, False), result.err


async def test_a_read_only_key_cannot_write(plane: ControlPlane, pipectl: Pipectl, piped_id: str) -> None:
    api_key = await plane.console.call("GenerateAPIKey", name="watcher", role=APIKey.READ_ONLY)
    pipectl.key_file.write_text(api_key.key)
    assert piped_id in (await pipectl("piped", "list")).out
    result = await pipectl("piped", "disable", f"--piped-id={piped_id}")
    assert result.code == 1 and "API key watcher is read-only" in result.err


async def test_an_encrypted_secret_decrypts_to_the_same_bytes(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    decryptor = Decryptor(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    without_key = await pipectl("encrypt", f"--piped-id={piped_id}", stdin="x")
    assert without_key.code == 1 and "spec.secretManagement" in without_key.err

    async def set_public_key(text: str) -> None:
        def change(record: Piped) -> None:
            record.secret_encryption.type = "KEY_PAIR"
            record.secret_encryption.public_key = text

        await plane.server.services.store.update(Piped, piped_id, change, by=TESTER)

    await set_public_key("no key")
    wrong_key = await pipectl("encrypt", f"--piped-id={piped_id}", stdin="x")
    assert wrong_key.code == 1 and "the public key is not an RSA key in PEM" in wrong_key.err
    await set_public_key(public.decode())
    secret = "päss\r\nword\n"
    result = await pipectl("encrypt", f"--piped-id={piped_id}", stdin=secret)
    assert decryptor.decrypt(result.out) == secret.encode(), result.err
    assert "word" not in result.out + result.err
    file = tmp_path / "secret"
    file.write_bytes(secret.encode())
    from_file = (f"--input-file={file}", "--use-base64-encoding")
    result = await pipectl("encrypt", f"--piped-id={piped_id}", *from_file)
    assert base64.b64decode(decryptor.decrypt(result.out)) == secret.encode()
    binary = await pipectl("encrypt", f"--piped-id={piped_id}", stdin=b"\x00\xff")
    assert binary.code == 1 and "not UTF-8 text" in binary.err


async def test_a_preview_shows_the_results_of_an_agent(
    plane: ControlPlane, pipectl: Pipectl, tmp_path: Path
) -> None:
    """The test acts as the agent, using PipedService."""
    piped_id, key = await plane.register_piped()

    def add_repository(record: Piped) -> None:
        record.repositories.append(ApplicationGitRepository(id="demo", remote=REMOTE, branch="main"))

    await plane.server.services.store.update(Piped, piped_id, add_repository, by=TESTER)
    token = PipedToken(project_id=PROJECT, piped_id=piped_id, key=key)
    agent = await connect(plane.address, token, Transport(insecure=True))
    await agent.call(agent.piped.ReportStat, ReportStatRequest(piped_stats=b"up 1"))

    async def list_unhandled() -> Sequence[Command]:
        response = await agent.call(agent.piped.ListUnhandledCommands, ListUnhandledCommandsRequest())
        return response.commands

    async def act_as_agent() -> Command:
        (command,) = await eventually(list_unhandled)
        result = PlanPreviewCommandResult(command_id=command.id, piped_id=piped_id)
        result.results.add(
            application_id="a1",
            application_name="shop",
            application_kind=ApplicationKind.TERRAFORM,
            plan_summary=b"1 to add",
            plan_details=b"+ resource",
        )
        handled = ReportCommandHandledRequest(
            command_id=command.id,
            status=CommandStatus.COMMAND_SUCCEEDED,
            handled_at=plane.server.services.now(),
            output=proto_json.dumps(result).encode(),
        )
        await agent.call(agent.piped.ReportCommandHandled, handled)
        return command

    out = tmp_path / "preview.json"
    flags = (f"--repo-remote-url={REMOTE}", "--head-branch=b", "--head-commit=c", "--base-branch=main")
    async with asyncio.TaskGroup() as group:
        agent_task = group.create_task(act_as_agent())
        result = await pipectl("plan-preview", *flags, f"--out={out}", "--piped-handle-timeout=300s")
    await agent.close()
    assert agent_task.result().build_plan_preview.timeout == 300
    assert result.code == 0, result.err
    assert "1. app: shop, kind: TERRAFORM" in result.out and "    + resource" in result.out
    (application,) = json.loads(out.read_text())["Applications"]
    assert (application["ApplicationName"], application["PlanSummary"], application["PipedName"]) == (
        "shop",
        "1 to add",
        "home",
    )
    assert application["ApplicationURL"] == "http://console.example/applications/a1"


async def test_an_unwritable_output_file_is_reported_before_waiting(
    pipectl: Pipectl, piped_id: str, tmp_path: Path
) -> None:
    flags = (f"--repo-remote-url={REMOTE}", "--head-branch=b", "--head-commit=c", "--base-branch=main")
    result = await pipectl("plan-preview", *flags, f"--out={tmp_path}/no/such/folder.json")
    assert result.code == 1 and "No such file or directory" in result.err
    assert "Requested" not in result.err


def running_deployment(piped_id: str) -> Deployment:
    return Deployment(
        id="d1",
        application_id="a",
        application_name="shop",
        piped_id=piped_id,
        project_id=PROJECT,
        status=DeploymentStatus.DEPLOYMENT_RUNNING,
        stages=[PipelineStage(id="stage-0", name="WAIT"), PipelineStage(id="stage-1", name="SCRIPT_RUN")],
    )


def set_failed(record: Deployment) -> None:
    record.status = DeploymentStatus.DEPLOYMENT_FAILURE
    record.status_reason = "the script failed"


async def test_followed_logs_are_printed_once_until_the_end(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    services, deployment = plane.server.services, running_deployment(piped_id)
    await services.store.create(deployment, by=TESTER)

    async def append_log(stage: str, index: int, text: str) -> None:
        await services.logs.append(deployment, stage, 0, [LogBlock(index=index, log=text, created_at=1)])

    await append_log("stage-0", 1, "waiting")
    command = pipectl.start("deployment", "logs", "--deployment-id=d1", "--follow")
    assert await command.output(lines=2) == "[WAIT]\nwaiting\n"
    await append_log("stage-0", 2, "waited")
    assert (await command.output(lines=3)).endswith("\nwaited\n")
    await append_log("stage-1", 1, "it broke")
    await services.store.update(Deployment, "d1", set_failed, by=TESTER)
    result = await command.wait()
    assert result.out == "[WAIT]\nwaiting\nwaited\n[SCRIPT_RUN]\nit broke\n"
    assert (result.code, result.err) == (0, "Deployment d1 ended as FAILURE: the script failed\n")
    all_logs = (await pipectl("deployment", "logs", "--deployment-id=d1", "-o", "json")).json
    assert [block["log"] for block in all_logs["stage_logs"]["stage-0"]["blocks"]] == ["waiting", "waited"]


async def test_long_logs_are_printed_to_their_last_line(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    """The response exceeds the limit of 10 MiB that the agent's client has."""
    deployment = running_deployment(piped_id)
    await plane.server.services.store.create(deployment, by=TESTER)
    for part in range(11):
        lines = [LogBlock(index=part * 100 + n + 1, log="x" * 10_000, created_at=1) for n in range(100)]
        await plane.server.services.logs.append(deployment, "stage-0", 0, lines)
    result = await pipectl("deployment", "logs", "--deployment-id=d1")
    assert (result.code, len(result.out.splitlines())) == (0, 1 + 1100 + 1 + 1 + 1), result.err


async def test_an_interrupted_wait_exits_with_130(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    await plane.server.services.store.create(running_deployment(piped_id), by=TESTER)
    command = pipectl.start("deployment", "wait-status", "--deployment-id=d1", "--status=SUCCESS")
    assert await command.errors(lines=1) == "Deployment d1 is RUNNING\n"
    command.program.send_signal(signal.SIGINT)
    result = await command.wait()
    assert (result.code, result.err) == (130, "Deployment d1 is RUNNING\n")


async def test_a_wait_survives_a_restart_of_the_control_plane(tmp_path: Path) -> None:
    folder = tmp_path / "plane"
    folder.mkdir()
    ports = free_ports(2)
    async with control_plane(folder, ports=ports) as first:
        api_key = await first.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_ONLY)
        key_file = tmp_path / "api-key"
        key_file.write_text(api_key.key)
        await first.server.services.store.create(running_deployment("missing"), by=TESTER)
        command = Pipectl(first, key_file).start(
            *("deployment", "wait-status", "--deployment-id=d1", "--status=FAILURE", "--check-interval=200ms")
        )
        assert await command.errors(lines=1) == "Deployment d1 is RUNNING\n"
    async with control_plane(folder, ports=ports) as second:
        await second.server.services.store.update(Deployment, "d1", set_failed, by=TESTER)
        result = await command.wait()
    assert (result.code, result.out) == (0, "Deployment d1 is at FAILURE status\n"), result.err


async def test_delivery_figures_are_shown_as_table_csv_and_json(
    plane: ControlPlane, pipectl: Pipectl
) -> None:
    empty = await pipectl("insights")
    assert empty.out == "" and "No deployment of this project has ended yet." in empty.err
    now = plane.server.services.now()
    for number, status in enumerate(("SUCCESS", "FAILURE", "SUCCESS")):
        deployment = Deployment(
            id=str(number),
            application_id="a",
            project_id=PROJECT,
            labels={"env": "prod"},
            status=DeploymentStatus.Value(f"DEPLOYMENT_{status}"),
            stages=[PipelineStage(id="s", name="ECS_SYNC", status=StageStatus.STAGE_SUCCESS)],
            completed_at=now - 7200 + 3600 * number,
        )
        deployment.trigger.commit.created_at = now - 7800 + 3600 * number
        await plane.server.services.store.create(deployment, by=TESTER)
    table = (await pipectl("insights", "--bucket=month", "--days=2", "--label=env:prod")).out.splitlines()
    assert table[0].split("  ")[0] == "MONTH"
    assert table[-1].split() == ["total", "3", "2", "1", "33%", "1.2", "h", "59.5", "m"]
    rows = (await pipectl("insights", "-o", "csv", "--bucket=month", "--days=2")).out.splitlines()
    assert rows[0].startswith("start,deployments,succeeded,changes,failures,change_failure_rate,lead_times")
    assert sum(int(row.split(",")[1]) for row in rows[1:]) == 3
    as_json = (await pipectl("insights", "-o", "json", "--app-kind=ECS")).json
    assert (as_json["total"]["deployments"], int(as_json["recorded"])) in ((0, 3), ("0", 3))
    wrong = await pipectl("insights", "--time-zone=Nowhere")
    assert wrong.code == 2 and "is not the name of a time zone" in wrong.err


async def test_the_audit_log_is_listed_exported_and_verified(
    plane: ControlPlane, pipectl: Pipectl, piped_id: str
) -> None:
    refused = await pipectl("audit", "list")
    assert refused.code == 1 and "needs the role ADMIN to view the audit log; ask an admin" in refused.err
    response = await plane.console.call("GenerateAPIKey", name="auditor", role=APIKey.ADMIN)
    pipectl.key_file.write_text(response.key)
    listed = await pipectl("audit", "list", "--people", "--action=RegisterPiped")
    assert listed.code == 0 and "hello  registered piped home" in listed.out
    lines = (await pipectl("audit", "export", "--kind=piped")).out.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["summary"] for entry in entries][:1] == ["registered piped home"]
    assert entries[0]["after"]["name"] == "home" and entries[0]["actor_name"] == "hello"
    (event, *_) = (
        await pipectl("audit", "export", "--format=cloudevents", "--id", piped_id)
    ).out.splitlines()
    assert json.loads(event)["type"] == "dev.pipecd.audit.v1.RegisterPiped"
    verified = await pipectl("audit", "verify")
    assert "entries are unchanged" in verified.out
    known = verified.out.splitlines()[-1]
    assert (await pipectl("audit", "verify", f"--known={known}")).code == 0
    store = plane.server.services.store
    for statement in (
        "DROP TRIGGER audit_is_append_only",
        "UPDATE audit SET address = 'x' WHERE seq = (SELECT seq FROM audit_links WHERE position = 2)",
    ):
        await execute(store, sa.text(statement))
    broken = await pipectl("audit", "verify")
    assert broken.code == 1 and "entry 2 of the audit log: its content or its hash was changed" in broken.err

"""The agent on App Runner without App Runner: its start command, environment and limits.

The launcher and the agent (as processes), the control plane, Git and the wheels are real; AWS is emulated.
"""

import asyncio
import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipecd.model.status import DeploymentStatus, StageStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import LAMBDA
from tests.aws import REGION, emulated_aws
from tests.deploy.container import (
    MEMORY_LIMIT,
    MEMORY_TARGET,
    TEST_ARGUMENTS,
    AppRunnerEnvironment,
    Aws,
    Container,
    apprunner_environment,
    load_health_check,
    resident_bytes,
)
from tests.deploy.cpu_quota import PERIOD, limit_cpu, process_tree
from tests.deploy.work_tree_release import publish_work_tree_release
from tests.eventually import eventually
from tests.world import REPOSITORY, World, pipeline

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def aws() -> Iterator[Aws]:
    with emulated_aws() as emulated:
        yield emulated


@pytest.fixture
async def environment(aws: Aws, tmp_path: Path) -> AsyncIterator[AppRunnerEnvironment]:
    async with apprunner_environment(aws, tmp_path) as running:
        yield running


async def test_agent_deploys_is_upgraded_mid_deployment_and_shuts_down(
    environment: AppRunnerEnvironment,
) -> None:
    """Secret → start command → healthy → commit → deployed → upgrade → new agent continues → SIGTERM."""
    w = environment.world
    publish_work_tree_release(environment.folder / "releases", "v0.1.1")
    marker = environment.folder / "deployed"
    hold = environment.folder / "hold"
    hold.touch()
    async with environment.start_container(
        *TEST_ARGUMENTS, f"--releases={environment.folder / 'releases'}"
    ) as container:
        await container.wait_until_healthy("v0.1.0")
        app = await w.add_application("shop", {"app.pipecd.yaml": pipeline(f"echo first >> {marker}")})
        await w.notify_push()
        first = await w.wait_for_deployment(app)
        assert first.status == DeploymentStatus.SUCCESS.value, first.status_reason
        assert marker.read_text() == "first\n"

        script = f"echo begun >> {marker}; while test -e {hold}; do sleep 0.1; done; echo second >> {marker}"
        commit = await w.push("Change", {"shop/app.pipecd.yaml": pipeline(script)})
        await eventually(lambda: _contains(marker, "begun"), 120)
        await w.console.call("UpdatePipedDesiredVersion", piped_ids=[w.piped_id], version="v0.1.1")
        await container.wait_until_healthy("v0.1.1")
        hold.unlink()
        second = await w.wait_for_deployment(app, commit, within=180)
        assert second.status == DeploymentStatus.SUCCESS.value, second.status_reason
        assert len(await w.deployments(app)) == 2
        assert marker.read_text().endswith("second\n")
        await eventually(lambda: _shows_version(w, "0.1.1"))

        container.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(container.process.wait, 120) == 0
        assert _files_with_key(environment, container) == []


async def test_a_lambda_canary_continues_across_an_upgrade_of_the_agent(
    environment: AppRunnerEnvironment,
) -> None:
    """Commit → version published → 10 % of the traffic → new agent → 100 %, without a repeated effect."""
    w, aws = environment.world, environment.aws
    publish_work_tree_release(environment.folder / "releases", "v0.1.1")
    role = aws.client("iam").create_role(RoleName="shop", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    async with environment.start_container(
        *TEST_ARGUMENTS, f"--releases={environment.folder / 'releases'}"
    ) as container:
        await container.wait_until_healthy("v0.1.0")
        await w.push("Begin", function_files(role, "v1"))
        path = ApplicationGitPath(
            repo=ApplicationGitRepository(id=REPOSITORY), path="hello", config_filename="app.pipecd.yaml"
        )
        added = await w.console.call(
            "AddApplication",
            name="hello",
            piped_id=w.piped_id,
            kind=LAMBDA,
            platform_provider="lambda",
            git_path=path,
        )
        first = await w.wait_for_deployment(added.application_id)
        assert first.status == DeploymentStatus.SUCCESS.value, first.status_reason
        assert traffic_shares(aws) == {"1": 1.0}

        commit = await w.push("Change", function_files(role, "v2"))
        await eventually(lambda: _has_shares(aws, {"1": 0.9, "2": 0.1}), 120)
        await w.console.call("UpdatePipedDesiredVersion", piped_ids=[w.piped_id], version="v0.1.1")
        await container.wait_until_healthy("v0.1.1")
        assert traffic_shares(aws) == {"1": 0.9, "2": 0.1}
        waiting, stage = await eventually(lambda: _waiting_for_approval(w, added.application_id, commit))
        await w.console.call("ApproveStage", deployment_id=waiting, stage_id=stage)
        second = await w.wait_for_deployment(added.application_id, commit)
        assert second.status == DeploymentStatus.SUCCESS.value, second.status_reason
        assert traffic_shares(aws) == {"2": 1.0}
        versions = aws.client("lambda").list_versions_by_function(FunctionName="hello")["Versions"]
        assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
        assert len(await w.deployments(added.application_id)) == 2
        assert _files_with_key(environment, container) == []


def function_files(role: str, tag: str) -> dict[str, str]:
    """Function manifest with the image's `tag`, and application file with a canary pipeline."""
    envelope = {"apiVersion": "pipecd.dev/v1beta1"}
    image = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/hello:{tag}"
    function = {"name": "hello", "role": role, "image": image, "memory": 128, "timeout": 5}
    stages = [
        {"name": "LAMBDA_CANARY_ROLLOUT"},
        {"name": "LAMBDA_PROMOTE", "with": {"percent": 10}},
        {"name": "WAIT_APPROVAL"},
        {"name": "LAMBDA_PROMOTE", "with": {"percent": 100}},
    ]
    app = {"name": "hello", "pipeline": {"stages": stages}}
    return {
        "hello/function.yaml": json.dumps({**envelope, "kind": "LambdaFunction", "spec": function}),
        "hello/app.pipecd.yaml": json.dumps({**envelope, "kind": "LambdaApp", "spec": app}),
    }


def traffic_shares(aws: Aws) -> dict[str, float]:
    """Version → share (0–1) of the traffic that the alias routes to it."""
    client = aws.client("lambda")
    try:
        alias = client.get_alias(FunctionName="hello", Name="Service")
    except client.exceptions.ResourceNotFoundException:
        return {}
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    primary = {alias["FunctionVersion"]: round(1 - sum(weights.values()), 4)}
    return {version: share for version, share in {**primary, **weights}.items() if share}


async def _has_shares(aws: Aws, expected: dict[str, float]) -> bool:
    return await asyncio.to_thread(traffic_shares, aws) == expected


async def test_the_agent_is_replaced_on_request_and_for_a_new_secret_and_ends_with_the_launcher(
    environment: AppRunnerEnvironment,
) -> None:
    secrets = environment.aws.client("secretsmanager")
    async with environment.start_container(*TEST_ARGUMENTS) as container:
        await container.wait_until_healthy("v0.1.0")
        before = {process.pid for process in container.launcher_and_agent()}
        await environment.world.console.call("RestartPiped", piped_id=environment.world.piped_id)
        await environment.world.notify_push()
        await eventually(lambda: _agent_replaced(container, before), 120)
        await container.wait_until_healthy("v0.1.0")

        before = {process.pid for process in container.launcher_and_agent()}
        text = base64.b64decode(
            secrets.get_secret_value(SecretId=environment.secret_arn)["SecretString"]
        ).decode()
        secrets.put_secret_value(SecretId=environment.secret_arn, SecretString=text.replace('"1m"', '"2m"'))
        await eventually(lambda: _agent_replaced(container, before), 120)
        await container.wait_until_healthy("v0.1.0")

        others = [process for process in container.processes() if process.pid != container.process.pid]
        assert others
        container.process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, others, 60)
        assert alive == []


async def test_an_idle_agent_stays_below_the_memory_target(
    environment: AppRunnerEnvironment,
) -> None:
    async with environment.start_container(*TEST_ARGUMENTS) as container:
        await container.wait_until_healthy("v0.1.0")
        app = await environment.world.add_application("shop", {"app.pipecd.yaml": pipeline("true")})
        await environment.world.notify_push()
        await environment.world.wait_for_deployment(app)

        async def fits() -> bool:
            """Holds once the deployment's child processes have ended."""
            megabytes = [resident_bytes([process]) // 1024**2 for process in container.processes()]
            assert container.resident_bytes() < MEMORY_TARGET, megabytes
            return True

        await eventually(fits)


async def test_a_quarter_of_a_cpu_is_enough_to_start_deploy_and_stop_in_time(
    environment: AppRunnerEnvironment,
) -> None:
    """The smallest instance, under the health check that deploy/apprunner configures.

    Times are CPU time at the quota, not wall-clock time: the machine may be busy with other work.
    """
    w, aws, check = environment.world, environment.aws, load_health_check()
    role = aws.client("iam").create_role(RoleName="shop", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    async with environment.start_container("--insecure=true") as container:
        with limit_cpu(container.process.pid, share=0.25) as quota:
            await container.wait_until_healthy("v0.1.0", within=3 * check.startup_timeout)
            assert quota.seconds_at_full_share() < check.startup_timeout
            async with container.monitor_health(check, quota) as failures:
                await w.push("Begin", function_files(role, "v1"))
                app = await w.register("hello", kind=LAMBDA, provider="lambda")
                first = await w.wait_for_deployment(app, within=240)
                assert first.status == DeploymentStatus.SUCCESS.value, first.status_reason
                await w.push("Change", function_files(role, "v2"))
                await eventually(lambda: _has_shares(aws, {"1": 0.9, "2": 0.1}), 240)
                assert container.resident_bytes() < MEMORY_LIMIT
            assert failures == []
            assert quota.exhausted > 0
            before = quota.seconds_at_full_share()
            container.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(container.process.wait, 120) == 0
            # App Runner kills the container after 30 seconds.
            assert quota.seconds_at_full_share() - before < 30


async def test_the_cpu_limit_holds_for_busy_processes() -> None:
    """Tests `limit_cpu` itself: without it, parent and child use two CPUs."""
    spin = "while True: pass"
    both = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', '{spin}'])\n{spin}"
    process = subprocess.Popen([sys.executable, "-c", both], start_new_session=True)
    try:
        with limit_cpu(process.pid, share=0.25) as quota:

            async def limited() -> bool:
                """An overrun in a period, here due to late sampling, is deducted from the next."""
                assert quota.periods >= 30
                assert len(process_tree(process.pid)) == 2
                return 0.1 < quota.used < 1.3 * quota.share * quota.periods * PERIOD

            await eventually(limited)
            processes = process_tree(process.pid)
        # Resumed when the block ends.
        assert all(each.status() != psutil.STATUS_STOPPED for each in processes)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


async def test_an_invalid_secret_stops_the_container_with_a_one_line_error(
    environment: AppRunnerEnvironment,
) -> None:
    environment.aws.client("secretsmanager").put_secret_value(
        SecretId=environment.secret_arn, SecretString="pipedKey=" + environment.world.key
    )
    async with environment.start_container(*TEST_ARGUMENTS) as container:
        assert await asyncio.to_thread(container.process.wait, 120) == 1
        output = container.log.read_text()
        assert output.count("\n") == 1
        assert "contains neither YAML nor base64; store the agent's configuration file there" in output
        assert environment.world.key not in output


async def _agent_replaced(container: Container, before: set[int]) -> bool:
    """The launcher still runs, with another agent process."""
    now = {process.pid for process in container.launcher_and_agent()}
    return now & before == {container.process.pid} and len(now) > 1


async def _contains(file: Path, word: str) -> bool:
    return file.exists() and word in file.read_text()


async def _shows_version(w: World, version: str) -> bool:
    answer = await w.console.call("GetPiped", piped_id=w.piped_id)
    return bool(answer.piped.version == version)


async def _waiting_for_approval(w: World, application_id: str, commit: str) -> tuple[str, str]:
    """Ids of the deployment of `commit` and of its stage that waits for approval."""
    for deployment in await w.deployments(application_id):
        for stage in deployment.stages if deployment.trigger.commit.hash == commit else ():
            if stage.name == "WAIT_APPROVAL" and stage.status == StageStatus.RUNNING.value:
                return deployment.id, stage.id
    raise AssertionError("no stage waits for approval")


def _files_with_key(environment: AppRunnerEnvironment, container: Container) -> list[str]:
    """Logs and files of the control plane that contain the piped key, although none may."""
    key = environment.world.key
    encodings = [key.encode(), base64.b64encode(key.encode())]
    database = environment.folder / "world" / "plane" / "pipecd.db"
    copy = environment.folder / "copy.db"
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    stored = [path for path in (environment.folder / "world" / "plane").rglob("*") if path.is_file()]
    assert len(stored) > 1
    files = [container.log, copy, *stored]
    return [str(file) for file in files if any(encoded in _read(file) for encoded in encodings)]


def _read(file: Path) -> bytes:
    """The content; empty if the file has been removed, as temporary files are after they were written."""
    with suppress(FileNotFoundError):
        return file.read_bytes()
    return b""

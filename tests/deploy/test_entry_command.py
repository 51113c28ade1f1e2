"""The story of App Runner, as far as it goes without App Runner: its start command, environment and limits.

Real are the launcher and the agent (as processes), the control plane, Git, and the wheels; AWS is emulated.
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
from tests.aws import REGION, Aws, emulated_aws
from tests.deploy.container import (
    LIMIT,
    PLAIN,
    TARGET,
    Container,
    Story,
    apprunner,
    configured_check,
    resident,
)
from tests.deploy.quarter import PERIOD, throttled, tree
from tests.deploy.real_release import publish_this
from tests.eventually import eventually
from tests.world import REPOSITORY, World, pipeline

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def aws() -> Iterator[Aws]:
    with emulated_aws() as emulated:
        yield emulated


@pytest.fixture
async def story(aws: Aws, tmp_path: Path) -> AsyncIterator[Story]:
    async with apprunner(aws, tmp_path) as made:
        yield made


async def test_the_whole_story(story: Story) -> None:
    """Secret → start command → healthy → commit → deployed → upgrade → a newer agent goes on → SIGTERM."""
    w = story.world
    publish_this(story.folder / "releases", "v0.1.1")
    marker = story.folder / "deployed"
    hold = story.folder / "hold"
    hold.touch()
    async with story.container(*PLAIN, f"--releases={story.folder / 'releases'}") as container:
        await container.healthy("v0.1.0")
        app = await w.application("shop", {"app.pipecd.yaml": pipeline(f"echo first >> {marker}")})
        await w.hint()
        first = await w.ended(app)
        assert first.status == DeploymentStatus.SUCCESS.value, first.status_reason
        assert marker.read_text() == "first\n"

        waits = f"echo begun >> {marker}; while test -e {hold}; do sleep 0.1; done; echo second >> {marker}"
        commit = await w.push("Change", {"shop/app.pipecd.yaml": pipeline(waits)})
        await eventually(lambda: _says(marker, "begun"), 120)
        await w.console.call("UpdatePipedDesiredVersion", piped_ids=[w.piped_id], version="v0.1.1")
        await container.healthy("v0.1.1")
        hold.unlink()
        second = await w.ended(app, commit, within=180)
        assert second.status == DeploymentStatus.SUCCESS.value, second.status_reason
        assert len(await w.deployments(app)) == 2
        assert marker.read_text().endswith("second\n")
        await eventually(lambda: _shows_version(w, "0.1.1"))

        container.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(container.process.wait, 120) == 0
        assert _quiet(story, container) == []


async def test_the_alias_of_a_function_shifts_across_an_upgrade_of_the_agent(story: Story) -> None:
    """Commit → version published → a tenth of the traffic → another agent → all of it; nothing twice."""
    w, aws = story.world, story.aws
    publish_this(story.folder / "releases", "v0.1.1")
    role = aws.client("iam").create_role(RoleName="shop", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    async with story.container(*PLAIN, f"--releases={story.folder / 'releases'}") as container:
        await container.healthy("v0.1.0")
        await w.push("Begin", function_files(role, "v1"))
        path = ApplicationGitPath(
            repo=ApplicationGitRepository(id=REPOSITORY), path="hello", config_filename="app.pipecd.yaml"
        )
        made = await w.console.call(
            "AddApplication",
            name="hello",
            piped_id=w.piped_id,
            kind=LAMBDA,
            platform_provider="lambda",
            git_path=path,
        )
        first = await w.ended(made.application_id)
        assert first.status == DeploymentStatus.SUCCESS.value, first.status_reason
        assert shares(aws) == {"1": 1.0}

        commit = await w.push("Change", function_files(role, "v2"))
        await eventually(lambda: _shifted(aws, {"1": 0.9, "2": 0.1}), 120)
        await w.console.call("UpdatePipedDesiredVersion", piped_ids=[w.piped_id], version="v0.1.1")
        await container.healthy("v0.1.1")
        assert shares(aws) == {"1": 0.9, "2": 0.1}
        waiting, stage = await eventually(lambda: _waiting_for_approval(w, made.application_id, commit))
        await w.console.call("ApproveStage", deployment_id=waiting, stage_id=stage)
        second = await w.ended(made.application_id, commit)
        assert second.status == DeploymentStatus.SUCCESS.value, second.status_reason
        assert shares(aws) == {"2": 1.0}
        versions = aws.client("lambda").list_versions_by_function(FunctionName="hello")["Versions"]
        assert [one["Version"] for one in versions] == ["$LATEST", "1", "2"]
        assert len(await w.deployments(made.application_id)) == 2
        assert _quiet(story, container) == []


def function_files(role: str, tag: str) -> dict[str, str]:
    """What Git says of the function: the image, and how it is released."""
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


def shares(aws: Aws) -> dict[str, float]:
    """Version → share of the traffic, as callers of the alias see it."""
    client = aws.client("lambda")
    try:
        alias = client.get_alias(FunctionName="hello", Name="Service")
    except client.exceptions.ResourceNotFoundException:
        return {}
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    rest = {alias["FunctionVersion"]: round(1 - sum(weights.values()), 4)}
    return {version: share for version, share in {**rest, **weights}.items() if share}


async def _shifted(aws: Aws, expected: dict[str, float]) -> bool:
    return await asyncio.to_thread(shares, aws) == expected


async def test_restart_in_the_console_gives_a_new_process(story: Story) -> None:
    async with story.container(*PLAIN) as container:
        await container.healthy("v0.1.0")
        before = {one.pid for one in container.programs()}
        await story.world.console.call("RestartPiped", piped_id=story.world.piped_id)
        await story.world.hint()
        await eventually(lambda: _renewed(container, before), 120)
        await container.healthy("v0.1.0")


async def test_a_new_secret_value_is_followed(story: Story) -> None:
    secrets = story.aws.client("secretsmanager")
    async with story.container(*PLAIN) as container:
        await container.healthy("v0.1.0")
        text = base64.b64decode(secrets.get_secret_value(SecretId=story.arn)["SecretString"]).decode()
        before = {one.pid for one in container.programs()}
        secrets.put_secret_value(SecretId=story.arn, SecretString=text.replace('"1m"', '"2m"'))
        await eventually(lambda: _renewed(container, before), 120)
        await container.healthy("v0.1.0")


async def test_an_idle_agent_fits_into_the_smallest_instance_with_room_to_spare(story: Story) -> None:
    async with story.container(*PLAIN) as container:
        await container.healthy("v0.1.0")
        app = await story.world.application("shop", {"app.pipecd.yaml": pipeline("true")})
        await story.world.hint()
        await story.world.ended(app)

        async def fits() -> bool:
            """Once nothing is done any more."""
            each = [resident([one]) // 1024**2 for one in container.processes()]
            assert container.resident() < TARGET, each
            return True

        await eventually(fits)


async def test_a_quarter_of_a_cpu_is_enough_to_start_deploy_and_stop_in_time(story: Story) -> None:
    """The smallest instance, under the health check that deploy/apprunner configures.

    Time is what the quarter would have taken for the CPU that was used: this machine has other work.
    """
    w, aws, check = story.world, story.aws, configured_check()
    role = aws.client("iam").create_role(RoleName="shop", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    async with story.container("--insecure=true") as container:
        with throttled(container.process.pid, share=0.25) as quota:
            await container.healthy("v0.1.0", within=3 * check.patience)
            assert quota.seconds() < check.patience
            async with container.watched(check, quota) as wrong:
                await w.push("Begin", function_files(role, "v1"))
                app = await w.registered("hello", kind=LAMBDA, provider="lambda")
                first = await w.ended(app, within=240)
                assert first.status == DeploymentStatus.SUCCESS.value, first.status_reason
                await w.push("Change", function_files(role, "v2"))
                await eventually(lambda: _shifted(aws, {"1": 0.9, "2": 0.1}), 240)
                assert container.resident() < LIMIT
            assert wrong == []
            assert quota.exhausted > 0
            before = quota.seconds()
            container.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(container.process.wait, 120) == 0
            # App Runner kills what has not ended by then.
            assert quota.seconds() - before < 30


async def test_the_quota_is_kept_by_processes_that_want_more() -> None:
    """The test of the test: parent and child would take two CPUs."""
    spin = "while True: pass"
    both = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', '{spin}'])\n{spin}"
    process = subprocess.Popen([sys.executable, "-c", both], start_new_session=True)
    try:
        with throttled(process.pid, share=0.25) as quota:

            async def kept() -> bool:
                """What was used too much in a period, here because we looked late, is missing in the next."""
                assert quota.periods >= 30
                assert len(tree(process.pid)) == 2
                return 0.1 < quota.used < 1.3 * quota.share * quota.periods * PERIOD

            await eventually(kept)
            processes = tree(process.pid)
        # Let go of in the end.
        assert all(one.status() != psutil.STATUS_STOPPED for one in processes)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


async def test_a_wrong_secret_ends_the_container_with_one_sentence(story: Story) -> None:
    story.aws.client("secretsmanager").put_secret_value(
        SecretId=story.arn, SecretString="pipedKey=" + story.world.key
    )
    async with story.container(*PLAIN) as container:
        assert await asyncio.to_thread(container.process.wait, 120) == 1
        told = container.log.read_text()
        assert told.count("\n") == 1
        assert "holds neither YAML nor base64; store the agent's configuration file there" in told
        assert story.world.key not in told


async def test_no_process_is_left_when_the_first_one_is_killed(story: Story) -> None:
    async with story.container(*PLAIN) as container:
        await container.healthy("v0.1.0")
        others = [one for one in container.processes() if one.pid != container.process.pid]
        assert others
        container.process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, others, 60)
        assert alive == []


async def _renewed(container: Container, before: set[int]) -> bool:
    """The launcher goes on, with another agent."""
    now = {one.pid for one in container.programs()}
    return now & before == {container.process.pid} and len(now) > 1


async def _says(file: Path, word: str) -> bool:
    return file.exists() and word in file.read_text()


async def _shows_version(w: World, version: str) -> bool:
    answer = await w.console.call("GetPiped", piped_id=w.piped_id)
    return bool(answer.piped.version == version)


async def _waiting_for_approval(w: World, application_id: str, commit: str) -> tuple[str, str]:
    """The deployment of that commit, and its stage that may be approved now."""
    for one in await w.deployments(application_id):
        for stage in one.stages if one.trigger.commit.hash == commit else ():
            if stage.name == "WAIT_APPROVAL" and stage.status == StageStatus.RUNNING.value:
                return one.id, stage.id
    raise AssertionError("no stage waits")


def _quiet(story: Story, container: Container) -> list[str]:
    """Where the agent's key can be read though it must not: logs, and whatever the control plane keeps."""
    key = story.world.key
    forms = [key.encode(), base64.b64encode(key.encode())]
    kept = story.folder / "world" / "plane" / "pipecd.db"
    copy = story.folder / "copy.db"
    with sqlite3.connect(kept) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    objects = [one for one in (story.folder / "world" / "plane").rglob("*") if one.is_file()]
    assert len(objects) > 1
    read = [container.log, copy, *objects]
    return [str(file) for file in read if any(form in _bytes(file) for form in forms)]


def _bytes(file: Path) -> bytes:
    """None when it has gone meanwhile: what is written anew stands beside its place at first."""
    with suppress(FileNotFoundError):
        return file.read_bytes()
    return b""

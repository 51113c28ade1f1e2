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
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipecd.admin_port import asked
from pipecd.errors import Temporary
from pipecd.launcher.agent import free_port
from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from pipecd.schema.model.kind_pb2 import LAMBDA
from tests.aws import REGION, Aws, emulated_aws
from tests.deploy.real_release import publish_this
from tests.eventually import eventually
from tests.replies import replying
from tests.world import REPOSITORY, World, agent_spec, pipeline, world

#: What can be had of a container's limits without one (no core files, few open files, little data), set by
#: the program itself: a function between fork and exec would run beside gRPC's threads.
LAUNCHER = """
import resource
from pipecd.__main__ import launcher

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
resource.setrlimit(resource.RLIMIT_DATA, ({0}, {0}))
launcher()
"""
#: What a quarter of a vCPU with 512 MB has, and how much of it launcher and idle agent may use.
LIMIT, TARGET = 512 * 1024**2, 200 * 1024**2


@dataclass
class Container:
    """Launcher and agent, as one container has them."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    async def page(self, path: str) -> tuple[int, str]:
        try:
            code, _, body = await asked(self.port, path)
        except Temporary:
            return 0, ""
        return code, body.decode()

    async def healthy(self, version: str) -> None:
        """App Runner's health check succeeds, and the agent of that version answers it."""

        async def look() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            assert await self.page("/healthz") == (200, "ok")
            return json.loads((await self.page("/version"))[1])["piped"] == version

        await eventually(look, 60)

    def processes(self) -> Sequence[psutil.Process]:
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def resident(self) -> int:
        """Bytes that would be counted against the container; shared pages count once."""
        return sum(one.memory_full_info().pss for one in self.processes())


@dataclass
class Story:
    aws: Aws
    world: World
    arn: str
    folder: Path
    credentials_url: str

    def environment(self) -> dict[str, str]:
        """A container's: no key, no profile, only the role's address."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.credentials_url}/role",
            "GRPC_VERBOSITY": "ERROR",
        }

    @asynccontextmanager
    async def container(self, *more: str) -> AsyncIterator[Container]:
        """Started by the very command of deploy/apprunner; `more` is what only a test needs."""
        port, log = free_port(), self.folder / "container.log"
        start = ["launcher", "--config-from-aws-secret=true", f"--aws-secret-id={self.arn}"]
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER.format(LIMIT), *start[1:], f"--admin-port={port}", *more],
                stdout=out,
                stderr=out,
                env=self.environment(),
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            yield Container(process=process, port=port, log=log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.fixture
def aws() -> Iterator[Aws]:
    with emulated_aws() as emulated:
        yield emulated


@pytest.fixture
async def story(aws: Aws, tmp_path: Path) -> AsyncIterator[Story]:
    """The secret holds the configuration as PipeCD stores it, with the key inside."""
    async with world(tmp_path / "world") as made:
        document = agent_spec(
            made.plane.address,
            made.piped_id,
            tmp_path,
            {REPOSITORY: made.git.url(REPOSITORY)},
            platformProviders=[
                {"name": "terraform", "type": "TERRAFORM"},
                {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
            ],
        )
        del document["spec"]["pipedKeyFile"]
        document["spec"]["pipedKeyData"] = base64.b64encode(made.key.encode()).decode()
        value = base64.b64encode(json.dumps(document).encode()).decode()
        arn = aws.client("secretsmanager").create_secret(Name="piped-config", SecretString=value)["ARN"]
        with replying() as role:
            role.put(
                "/role",
                {
                    "AccessKeyId": "tester",
                    "SecretAccessKey": "tester",
                    "Token": "session",
                    "Expiration": "2099-01-01T00:00:00Z",
                },
            )
            yield Story(aws=aws, world=made, arn=str(arn), folder=tmp_path, credentials_url=role.url)


PLAIN = ("--insecure=true", "--check-interval=1s")


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
        await eventually(lambda: _says(marker, "begun"), 40)
        await w.console.call("UpdatePipedDesiredVersion", piped_ids=[w.piped_id], version="v0.1.1")
        await container.healthy("v0.1.1")
        hold.unlink()
        second = await w.ended(app, commit, within=60)
        assert second.status == DeploymentStatus.SUCCESS.value, second.status_reason
        assert len(await w.deployments(app)) == 2
        assert marker.read_text().endswith("second\n")
        assert await _shown_version(w) == "0.1.1"

        container.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(container.process.wait, 40) == 0
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
        await eventually(lambda: _shifted(aws, {"1": 0.9, "2": 0.1}), 40)
        await w.console.call("UpdatePipedDesiredVersion", piped_ids=[w.piped_id], version="v0.1.1")
        await container.healthy("v0.1.1")
        assert shares(aws) == {"1": 0.9, "2": 0.1}
        waiting = (await w.deployments(made.application_id))[-1]
        stage = next(one for one in waiting.stages if one.name == "WAIT_APPROVAL")
        await w.console.call("ApproveStage", deployment_id=waiting.id, stage_id=stage.id)
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
        before = {one.pid for one in container.processes()}
        await story.world.console.call("RestartPiped", piped_id=story.world.piped_id)
        await story.world.hint()

        async def renewed() -> bool:
            now = {one.pid for one in container.processes()}
            return container.process.pid in now and len(now - before) >= 1 and len(before - now) >= 1

        await eventually(renewed, 60)
        await container.healthy("v0.1.0")


async def test_a_new_secret_value_is_followed(story: Story) -> None:
    secrets = story.aws.client("secretsmanager")
    async with story.container(*PLAIN) as container:
        await container.healthy("v0.1.0")
        text = base64.b64decode(secrets.get_secret_value(SecretId=story.arn)["SecretString"]).decode()
        before = {one.pid for one in container.processes()}
        secrets.put_secret_value(SecretId=story.arn, SecretString=text.replace('"1m"', '"2m"'))

        async def renewed() -> bool:
            return len({one.pid for one in container.processes()} - before) >= 1

        await eventually(renewed, 60)
        await container.healthy("v0.1.0")


async def test_an_idle_agent_fits_into_the_smallest_instance_with_room_to_spare(story: Story) -> None:
    async with story.container(*PLAIN) as container:
        await container.healthy("v0.1.0")
        app = await story.world.application("shop", {"app.pipecd.yaml": pipeline("true")})
        await story.world.hint()
        await story.world.ended(app)
        resident = container.resident()
        each = {one.name(): one.memory_full_info().pss // 1024**2 for one in container.processes()}
        print(f"resident: {resident / 1024**2:.0f} MB of 512: {each}")
        assert resident < TARGET, each


async def test_a_wrong_secret_ends_the_container_with_one_sentence(story: Story) -> None:
    story.aws.client("secretsmanager").put_secret_value(
        SecretId=story.arn, SecretString="pipedKey=" + story.world.key
    )
    async with story.container(*PLAIN) as container:
        assert await asyncio.to_thread(container.process.wait, 90) == 1
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
        _, alive = await asyncio.to_thread(psutil.wait_procs, others, 20)
        assert alive == []


async def _says(file: Path, word: str) -> bool:
    return file.exists() and word in file.read_text()


async def _shown_version(w: World) -> str:
    answer = await w.console.call("GetPiped", piped_id=w.piped_id)
    return str(answer.piped.version)


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
    return [str(file) for file in read if any(form in file.read_bytes() for form in forms)]

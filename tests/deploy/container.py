"""The container of deploy/apprunner without a container runtime: its command, environment and limits.

    with emulated_aws() as aws:
        async with apprunner_environment(aws, folder) as environment:
            async with environment.start_container(*TEST_ARGUMENTS) as container:
                await container.wait_until_healthy("v0.1.0")

The launcher and the agent (as processes), the control plane and Git are real; AWS is emulated. Used by the
tests in this directory and by `bench`.
"""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from pipecd.admin_port import http_get
from pipecd.errors import Temporary
from tests.aws import REGION
from tests.deploy.cpu_quota import CpuQuota, process_tree
from tests.eventually import eventually
from tests.ports import free_ports
from tests.replies import ReplyServer, reply_server
from tests.world import REPOSITORY, World, agent_spec, world

#: Sets the container limits that work without a container (core file size, open files, data segment), then
#: runs the launcher. The program sets them itself: with gRPC's threads running, `preexec_fn` is unsafe.
LAUNCHER = """
import resource
from pipecd.__main__ import launcher

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
resource.setrlimit(resource.RLIMIT_DATA, ({0}, {0}))
launcher()
"""
MODULE = Path(__file__).parents[2] / "deploy/apprunner/terraform/main.tf"
#: Memory of the smallest instance, and the part of it that launcher and idle agent may use (bytes).
MEMORY_LIMIT, MEMORY_TARGET = 512 * 1024**2, 200 * 1024**2

#: Launcher arguments for tests: the control plane serves without TLS, and the default check interval of a
#: minute is too long.
TEST_ARGUMENTS = ("--insecure=true", "--check-interval=1s")
#: The platform providers used by the tests in this directory.
PROVIDERS = (
    {"name": "terraform", "type": "TERRAFORM"},
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
)


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """App Runner's health check: a service fails after `failures` failed checks in a row.

    `interval` and `timeout` are in seconds.
    """

    interval: float
    timeout: float
    failures: int

    @property
    def startup_timeout(self) -> float:
        """Time in which a new container must become healthy (seconds)."""
        return self.interval * self.failures


def load_health_check() -> HealthCheck:
    """The health check that deploy/apprunner configures."""
    block = re.search(r"health_check_configuration \{(.*?)\n  \}", MODULE.read_text(), re.DOTALL)
    assert block
    values = {name: float(value) for name, value in re.findall(r"(\w+)\s*=\s*(\d+)", block[1])}
    return HealthCheck(
        interval=values["interval"], timeout=values["timeout"], failures=int(values["unhealthy_threshold"])
    )


@dataclass
class Container:
    """The launcher process with its agent, as they run in one container."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    async def get(self, path: str) -> tuple[int, str]:
        """Status code and body of an admin page; (0, "") if it does not respond."""
        try:
            code, _, body = await http_get(self.port, path)
        except Temporary:
            return 0, ""
        return code, body.decode()

    async def wait_until_healthy(self, version: str, within: float = 180.0) -> None:
        """Wait until App Runner's health check succeeds and the agent has that version."""

        async def healthy() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            assert await self.get("/healthz") == (200, "ok")
            return bool(json.loads((await self.get("/version"))[1])["piped"] == version)

        await eventually(healthy, within)

    @asynccontextmanager
    async def monitor_health(self, check: HealthCheck, quota: CpuQuota) -> AsyncIterator[Sequence[str]]:
        """Check the health each second until the block ends; yields the list of failures so far.

        An answer is late if it used more CPU time than the quota grants within the check's timeout.
        Wall-clock time is not used, because a busy machine may give the container less than the quota.
        """
        failures: list[str] = []

        async def check_health() -> None:
            while True:
                before = quota.seconds_at_full_share()
                try:
                    code, _, body = await http_get(self.port, "/healthz", timeout=12 * check.timeout)
                except Temporary as error:
                    failures.append(str(error))
                else:
                    if code != 200:
                        failures.append(f"{code}: {body.decode()}")
                    if (elapsed := quota.seconds_at_full_share() - before) > check.timeout:
                        failures.append(f"an answer took {elapsed:.1f} s at the CPU quota")
                await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as tasks:
            checking = tasks.create_task(check_health())
            yield failures
            checking.cancel()

    def processes(self) -> Sequence[psutil.Process]:
        return process_tree(self.process.pid)

    def resident_bytes(self) -> int:
        """Memory of launcher, agent and all their child processes (bytes)."""
        return resident_bytes(self.processes())

    def launcher_and_agent(self) -> Sequence[psutil.Process]:
        """Launcher and agent, without the agent's child processes (Git, Terraform)."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children()]


def resident_bytes(processes: Sequence[psutil.Process]) -> int:
    """Memory that a container with these processes is charged for (bytes).

    Pages of a file count once, and in full even if processes outside the container map the same file.
    """
    private, shared = 0, dict[str, int]()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for mapping in process.memory_maps(grouped=True):
                private += mapping.private_clean + mapping.private_dirty
                size = mapping.shared_clean + mapping.shared_dirty
                shared[mapping.path] = max(shared.get(mapping.path, 0), size)
    return private + sum(shared.values())


class Aws(Protocol):
    """What the environment needs of an emulated AWS; both emulators of the tests satisfy it."""

    @property
    def url(self) -> str: ...

    def client(self, service: str) -> Any: ...


@dataclass
class AppRunnerEnvironment:
    """Everything that the container connects to."""

    aws: Aws
    world: World
    #: ARN of the secret with the agent's configuration.
    secret_arn: str
    folder: Path
    #: The container credentials endpoint.
    role_server: ReplyServer

    def process_environment(self) -> dict[str, str]:
        """The container's environment: no access key and no profile, only the credentials endpoint."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.role_server.url}/role",
            "GRPC_VERBOSITY": "ERROR",
        }

    @asynccontextmanager
    async def start_container(self, *arguments: str) -> AsyncIterator[Container]:
        """Run the start command of deploy/apprunner with further launcher `arguments`; killed at the end."""
        port, log = free_ports(1)[0], self.folder / "container.log"
        flags = ["--config-from-aws-secret=true", f"--aws-secret-id={self.secret_arn}"]
        flags += [f"--admin-port={port}", *arguments]
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER.format(MEMORY_LIMIT), *flags],
                stdout=out,
                stderr=out,
                env=self.process_environment(),
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            yield Container(process=process, port=port, log=log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


@asynccontextmanager
async def apprunner_environment(
    aws: Aws, folder: Path, providers: Sequence[Mapping[str, Any]] = PROVIDERS
) -> AsyncIterator[AppRunnerEnvironment]:
    """Start everything but the container.

    The secret holds the configuration in base64 and includes the piped key, as in PipeCD's documentation.
    """
    async with world(folder / "world") as running:
        remotes = {REPOSITORY: running.git.url(REPOSITORY)}
        document = agent_spec(
            running.plane.address, running.piped_id, folder, remotes, platformProviders=providers
        )
        del document["spec"]["pipedKeyFile"]
        document["spec"]["pipedKeyData"] = base64.b64encode(running.key.encode()).decode()
        value = base64.b64encode(json.dumps(document).encode()).decode()
        arn = aws.client("secretsmanager").create_secret(Name="piped-config", SecretString=value)["ARN"]
        with reply_server() as role:
            role.set_response(
                "/role",
                {
                    "AccessKeyId": "tester",
                    "SecretAccessKey": "tester",
                    "Token": "session",
                    "Expiration": "2099-01-01T00:00:00Z",
                },
            )
            yield AppRunnerEnvironment(
                aws=aws, world=running, secret_arn=str(arn), folder=folder, role_server=role
            )

"""The container of deploy/apprunner, as far as it goes without one: its command, environment and limits.

    with emulated_aws() as aws:
        async with apprunner(aws, folder) as story, story.container(*PLAIN) as container:
            await container.healthy("v0.1.0")

Real are the launcher and the agent (as processes), the control plane, and Git; AWS is emulated. Used by the
tests beside this, and by `bench`.
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

from pipecd.admin_port import asked
from pipecd.errors import Temporary
from tests.aws import REGION
from tests.deploy.quarter import Quota, tree
from tests.eventually import eventually
from tests.ports import free_ports
from tests.replies import Replies, replying
from tests.world import REPOSITORY, World, agent_spec, world

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
MODULE = Path(__file__).parents[2] / "deploy/apprunner/terraform/main.tf"
#: What a quarter of a vCPU with 512 MB has, and how much of it launcher and idle agent may use.
LIMIT, TARGET = 512 * 1024**2, 200 * 1024**2

#: What a container without TLS before its control plane needs; its tests do not want to wait for a minute.
PLAIN = ("--insecure=true", "--check-interval=1s")
#: Both platforms of the tests beside this.
PROVIDERS = (
    {"name": "terraform", "type": "TERRAFORM"},
    {"name": "lambda", "type": "LAMBDA", "config": {"region": REGION}},
)


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """App Runner's: a service is given up when `failures` checks in a row fail (seconds)."""

    interval: float
    timeout: float
    failures: int

    @property
    def patience(self) -> float:
        """How long a container may take until its first good answer."""
        return self.interval * self.failures


def configured_check() -> HealthCheck:
    """As deploy/apprunner has it."""
    block = re.search(r"health_check_configuration \{(.*?)\n  \}", MODULE.read_text(), re.DOTALL)
    assert block
    found = {name: float(value) for name, value in re.findall(r"(\w+)\s*=\s*(\d+)", block[1])}
    return HealthCheck(
        interval=found["interval"], timeout=found["timeout"], failures=int(found["unhealthy_threshold"])
    )


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

    async def healthy(self, version: str, within: float = 180.0) -> None:
        """App Runner's health check succeeds, and the agent of that version answers it."""

        async def look() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            assert await self.page("/healthz") == (200, "ok")
            return json.loads((await self.page("/version"))[1])["piped"] == version

        await eventually(look, within)

    @asynccontextmanager
    async def watched(self, check: HealthCheck, quota: Quota) -> AsyncIterator[Sequence[str]]:
        """What went wrong with the checks so far; they are made each second until the block ends.

        Late is an answer that took more CPU than the check's time-out brings: where this machine gives less
        than the quota, that is not the container's fault.
        """
        wrong: list[str] = []

        async def look() -> None:
            while True:
                before = quota.seconds()
                try:
                    code, _, body = await asked(self.port, "/healthz", timeout=12 * check.timeout)
                except Temporary as error:
                    wrong.append(str(error))
                else:
                    if code != 200:
                        wrong.append(f"{code}: {body.decode()}")
                    if (took := quota.seconds() - before) > check.timeout:
                        wrong.append(f"an answer took {took:.1f} s of a quarter CPU")
                await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(look())
            yield wrong
            looking.cancel()

    def processes(self) -> Sequence[psutil.Process]:
        return tree(self.process.pid)

    def resident(self) -> int:
        """Of launcher, agent and all they started (bytes)."""
        return resident(self.processes())

    def programs(self) -> Sequence[psutil.Process]:
        """Launcher and agent, without what the agent started (Git, Terraform)."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children()]


def resident(processes: Sequence[psutil.Process]) -> int:
    """What a container with these processes would be counted for (bytes).

    A file's pages count once, and wholly: other processes of this machine have the same libraries.
    """
    own, shared = 0, dict[str, int]()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for one in process.memory_maps(grouped=True):
                own += one.private_clean + one.private_dirty
                both = one.shared_clean + one.shared_dirty
                shared[one.path] = max(shared.get(one.path, 0), both)
    return own + sum(shared.values())


class Aws(Protocol):
    """Any of the tests' emulated clouds."""

    url: str

    def client(self, service: str) -> Any: ...


@dataclass
class Story:
    aws: Aws
    world: World
    arn: str
    folder: Path
    #: Where a container's role is asked for its credentials.
    role: Replies

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
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.role.url}/role",
            "GRPC_VERBOSITY": "ERROR",
        }

    @asynccontextmanager
    async def container(self, *more: str) -> AsyncIterator[Container]:
        """Started by the very command of deploy/apprunner; `more` is what only a test needs."""
        port, log = free_ports(1)[0], self.folder / "container.log"
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
            process.wait(60)


@asynccontextmanager
async def apprunner(
    aws: Aws, folder: Path, providers: Sequence[Mapping[str, Any]] = PROVIDERS
) -> AsyncIterator[Story]:
    """Everything but the container. The secret holds the configuration as PipeCD stores it, key included."""
    async with world(folder / "world") as made:
        remotes = {REPOSITORY: made.git.url(REPOSITORY)}
        document = agent_spec(made.plane.address, made.piped_id, folder, remotes, platformProviders=providers)
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
            yield Story(aws=aws, world=made, arn=str(arn), folder=folder, role=role)

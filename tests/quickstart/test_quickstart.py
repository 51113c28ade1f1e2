"""`pipecd quickstart` end to end: the command, its output, its state directory, its shutdown."""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pipecd.errors import Temporary
from pipecd.quickstart.console import Console
from pipecd.quickstart.state import State
from tests.eventually import eventually
from tests.ports import free_ports
from tests.programs import Completed, forked_interpreter, run_program, start_program
from tests.repo import Clone

pytestmark = pytest.mark.timeout(1200)
APPLICATIONS = {"network", "website", "greeting", "limits"}


class Quickstart:
    """Its programs are forked; with `interpreter` None, each is started with an interpreter of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.output = folder.parent / "output.txt"
        self.interpreter: Path | None = forked_interpreter(folder.parent)

    def command(self, *flags: str) -> list[str]:
        return ["pipecd", "quickstart", f"--state-dir={self.folder}", f"--port={self.port}", *flags]

    @asynccontextmanager
    async def start(self, *flags: str) -> AsyncIterator[Console]:
        """Run the quickstart until the block ends, then stop it with SIGINT (Ctrl-C)."""
        self.output.write_bytes(b"")
        environment = {**os.environ, "COLUMNS": "200"}
        program = start_program(
            self.command(*flags), output=self.output, env=environment, interpreter=self.interpreter
        )
        try:
            await eventually(self._ready, 300)
            async with Console(f"http://127.0.0.1:{self.port}") as console:
                await console.sign_in("quickstart", "hello", self.printed("password"))
                yield console
        finally:
            program.send_signal(signal.SIGINT)
            code = await asyncio.to_thread(program.wait, 180)
        assert code == 0, self.output.read_text()

    def run(self, *flags: str) -> Completed:
        """Run the command to its end."""
        return run_program(
            self.command(*flags), self.folder.parent, timeout=300, interpreter=self.interpreter
        )

    async def _ready(self) -> bool:
        return "PipeCD is ready" in self.output.read_text()

    def printed(self, label: str) -> str:
        match = re.search(rf"{label}\s+(\S+)", self.output.read_text())
        assert match, self.output.read_text()
        return match[1]

    def kill(self, program: str) -> None:
        """Kill a program (`server`, `piped`) that has an interpreter of its own with SIGKILL."""
        own = f"={self.folder}{os.sep}"
        (process,) = (
            process
            for process in psutil.process_iter(["cmdline"])
            if process.info["cmdline"]
            and process.info["cmdline"][1:4] == ["-m", "pipecd", program]
            and any(own in argument for argument in process.info["cmdline"])
        )
        process.kill()


@pytest.fixture
def quickstart(tmp_path: Path) -> Quickstart:
    return Quickstart(tmp_path / "state", free_ports(11)[0])


async def applications_by_name(console: Console) -> dict[str, Any]:
    applications = (await console.call("ListApplications")).get("applications", [])
    return {application["name"]: application for application in applications}


async def list_deployments(console: Console, name: str) -> list[dict[str, Any]]:
    """In order of creation; pages are ordered by last update, newest first."""
    application = (await applications_by_name(console))[name]
    response = await console.call(
        "ListDeployments", options={"applicationIds": [application["id"]]}, pageSize=20
    )
    deployments = list(reversed(response.get("deployments", [])))
    return sorted(deployments, key=lambda deployment: int(deployment["createdAt"]))


async def wait_for_deployment(console: Console, name: str, number: int) -> dict[str, Any]:
    """The application's deployment `number` (from 1), once it is complete."""

    async def completed() -> dict[str, Any] | None:
        deployments = await list_deployments(console, name)
        complete = len(deployments) >= number and deployments[number - 1].get("status", "") in (
            "DEPLOYMENT_SUCCESS",
            "DEPLOYMENT_FAILURE",
        )
        return deployments[number - 1] if complete else None

    deployment = await eventually(completed, 300)
    assert deployment
    return deployment


async def test_the_demo_and_a_push_are_deployed_and_a_restart_continues(quickstart: Quickstart) -> None:
    """With the emulated AWS: a Lambda canary and an ECS blue-green deployment in addition to the demo.

    After a restart, the emulated AWS is empty, and each program has an interpreter of its own.
    `tests/test_packages.py` starts the demo without the emulated AWS.
    """
    async with quickstart.start("--with-aws-emulator") as console:
        password = quickstart.printed("password")
        assert set(await applications_by_name(console)) == APPLICATIONS | {"function", "service"}
        assert (await wait_for_deployment(console, "network", 1))["status"] == "DEPLOYMENT_SUCCESS"
        assert (await wait_for_deployment(console, "greeting", 1))["status"] == "DEPLOYMENT_SUCCESS"
        failed = await wait_for_deployment(console, "limits", 2)
        assert failed["status"] == "DEPLOYMENT_FAILURE"
        assert [stage["name"] for stage in failed["stages"]] == ["TERRAFORM_APPLY", "SCRIPT_RUN", "ROLLBACK"]
        deployed = quickstart.folder / "deployed"
        assert (deployed / "limits" / "requests.txt").read_text() == "100\n", "rolled back"
        assert (deployed / "greeting" / "greeting.txt").exists()

        waiting = await eventually(lambda: awaiting_approval(console, "website"), 300)
        assert waiting
        assert not (deployed / "website").exists(), "nothing is applied before the approval"
        await console.call("ApproveStage", deploymentId=waiting["id"], stageId="stage-1")
        assert (await wait_for_deployment(console, "website", 1))["status"] == "DEPLOYMENT_SUCCESS"
        assert "Hello from Git" in (deployed / "website" / "index.html").read_text()

        getting_started = json.loads((quickstart.folder / "newcomer.json").read_text())
        async with httpx.AsyncClient(timeout=60, verify=False) as http:
            response = await http.get(f"http://127.0.0.1:{quickstart.port}/quickstart.json")

            async def inbox_is_complete() -> bool:
                """The bell: the deployments so far, with links to the console. The agent sends them later."""
                inbox = (await http.get(getting_started["inbox"])).text
                for title in ("Deployed network", "The deployment of limits failed", "waits for approval"):
                    assert title in inbox
                return f"http://localhost:{quickstart.port}/deployments/{failed['id']}" in inbox

            await eventually(inbox_is_complete)
        assert response.json() == getting_started
        clone = Clone(quickstart.folder.parent / "clone", getting_started["remote"])
        clone.git("pull", "--quiet", "origin", "main")
        pushed_at = time.monotonic()
        clone.commit("Another subnet", {"network/terraform.tfvars": 'subnets = ["10.0.9.0/24"]\n'})
        await push_beside_the_quickstart(clone)

        async def running() -> bool:
            deployments = await list_deployments(console, "network")
            return len(deployments) > 1 and deployments[1].get("status") not in (None, "DEPLOYMENT_PENDING")

        await eventually(running)
        print(f"push → running: {time.monotonic() - pushed_at:.2f} s")
        assert (await wait_for_deployment(console, "network", 2))["status"] == "DEPLOYMENT_SUCCESS"
        deployed_ids = [deployment["id"] for deployment in await list_deployments(console, "network")]
        await _check_aws_deployments(console)
    quickstart.interpreter = None
    async with quickstart.start("--with-aws-emulator") as console:
        assert quickstart.printed("password") == password
        assert [deployment["id"] for deployment in await list_deployments(console, "network")] == deployed_ids
        redeployed = await wait_for_deployment(console, "function", 3)
        assert redeployed["status"] == "DEPLOYMENT_SUCCESS", redeployed.get("statusReason")
        assert redeployed["stages"][0]["name"] == "LAMBDA_SYNC"
        await _kill_programs_and_push(quickstart, console, clone)
    assert "Removed" in quickstart.run("--clean").stdout
    assert not quickstart.folder.exists()


async def push_beside_the_quickstart(clone: Clone) -> None:
    """Repeated, since the quickstart pushes new versions to the same branch."""

    async def is_pushed() -> bool:
        clone.git("pull", "--quiet", "--rebase", "origin", "main")
        clone.push()
        return True

    await eventually(is_pushed)


async def _check_aws_deployments(console: Console) -> None:
    assert (await wait_for_deployment(console, "service", 1))["status"] == "DEPLOYMENT_SUCCESS"
    canary = await wait_for_deployment(console, "function", 2)
    assert canary["status"] == "DEPLOYMENT_SUCCESS", canary.get("statusReason")
    percentages = [stage.get("metadata", {}).get("promote-percentage") for stage in canary["stages"]]
    assert [percentage for percentage in percentages if percentage] == ["10", "100"]

    blue_green = await eventually(lambda: awaiting_approval(console, "service"), 300)
    assert blue_green
    await console.call("ApproveStage", deploymentId=blue_green["id"], stageId="stage-2")
    assert (await wait_for_deployment(console, "service", 2))["status"] == "DEPLOYMENT_SUCCESS"


async def _kill_programs_and_push(quickstart: Quickstart, console: Console, clone: Clone) -> None:
    """Killed programs are started again, and nothing is deployed twice."""
    for program, name in (("piped", "agent"), ("server", "control plane")):
        quickstart.kill(program)

        async def is_started_again(name: str = name) -> bool:
            sentence = f"The {name} was killed (signal 9); starting it again"
            return sentence in quickstart.output.read_text()

        await eventually(is_started_again)

    async def is_back() -> bool:
        try:
            return len(await list_deployments(console, "network")) == 2
        except Temporary:
            return False

    await eventually(is_back)
    clone.commit("A third subnet", {"network/terraform.tfvars": 'subnets = ["10.0.8.0/24"]\n'})
    await push_beside_the_quickstart(clone)
    assert (await wait_for_deployment(console, "network", 3))["status"] == "DEPLOYMENT_SUCCESS"


async def awaiting_approval(console: Console, name: str) -> dict[str, Any] | None:
    """The application's newest deployment, if it waits for an approval."""
    deployments = await list_deployments(console, name)
    stages = deployments[-1].get("stages", []) if deployments else []
    awaiting = any(
        stage["name"] == "WAIT_APPROVAL" and stage.get("status") == "STAGE_RUNNING" for stage in stages
    )
    return deployments[-1] if awaiting else None


def test_the_error_for_a_port_in_use_contains_the_remedy(quickstart: Quickstart) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", quickstart.port + 2))
        other.listen()
        result = quickstart.run()
    assert result.returncode == 1
    assert f"port {quickstart.port + 2} is in use" in result.stderr
    assert "make quickstart PORT=" in result.stderr
    assert "Traceback" not in result.stderr


def test_another_directory_is_neither_used_nor_removed(quickstart: Quickstart) -> None:
    quickstart.folder.mkdir()
    (quickstart.folder / "thesis.txt").write_text("years of work")
    for flags, message in (([], "--state-dir"), (["--clean"], "was not removed")):
        result = quickstart.run(*flags)
        assert result.returncode == 1 and message in result.stderr, result.stderr
        assert "Traceback" not in result.stderr
    assert (quickstart.folder / "thesis.txt").exists()


@pytest.mark.parametrize(
    "damage", ["a corrupted database", "a missing secret", "a file instead of a directory"]
)
def test_the_error_for_a_damaged_state_directory_contains_the_remedy(
    quickstart: Quickstart, damage: str
) -> None:
    """The directory is one that the quickstart created, but has not used."""
    state = State.open(quickstart.folder)
    match damage:
        case "a corrupted database":
            (state.folder / "control-plane" / "pipecd.db").write_bytes(b"not a database " * 500)
        case "a missing secret":
            state.store_agent("an-agent", "its key")
            (state.folder / "secrets" / "piped-key").unlink()
        case "a file instead of a directory":
            (state.folder / ".registered").write_text("not a directory")
    result = quickstart.run()
    assert result.returncode == 1
    assert "make quickstart-clean" in result.stderr, result.stderr
    assert "Traceback" not in result.stderr

"""`pipecd quickstart` as a newcomer runs it: the command itself, its output, its directory, its end."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipecd.quickstart.console import Console
from tests.eventually import eventually
from tests.ports import free_ports
from tests.repo import Clone

pytestmark = pytest.mark.timeout(1200)
APPLICATIONS = {"network", "website", "greeting", "limits"}


class Quickstart:
    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.output = folder.parent / "output.txt"

    def command(self, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "pipecd", "quickstart"),
            *(f"--state-dir={self.folder}", f"--port={self.port}", *more),
        ]

    @asynccontextmanager
    async def running(self, *more: str) -> AsyncIterator[Console]:
        """From "ready" to Ctrl-C, which ends everything."""
        with self.output.open("w") as output:
            process = subprocess.Popen(
                self.command(*more), stdout=output, stderr=output, env={**os.environ, "COLUMNS": "200"}
            )
        try:
            await eventually(self._ready, 300)
            async with Console(f"http://127.0.0.1:{self.port}") as console:
                await console.sign_in("quickstart", "hello", self.printed("password"))
                yield console
        finally:
            process.send_signal(signal.SIGINT)
            code = await asyncio.to_thread(process.wait, 180)
        assert code == 0, self.output.read_text()

    async def _ready(self) -> bool:
        return "PipeCD is ready" in self.output.read_text()

    def printed(self, what: str) -> str:
        found = re.search(rf"{what}\s+(\S+)", self.output.read_text())
        assert found, self.output.read_text()
        return found[1]


@pytest.fixture
def quickstart(tmp_path: Path) -> Quickstart:
    return Quickstart(tmp_path / "state", free_ports(6)[0])


async def by_name(console: Console) -> dict[str, Any]:
    found = (await console.call("ListApplications")).get("applications", [])
    return {one["name"]: one for one in found}


async def deployments(console: Console, name: str) -> list[dict[str, Any]]:
    """In the order in which they were made: pages begin with what was touched last."""
    application = (await by_name(console))[name]
    answer = await console.call(
        "ListDeployments", options={"applicationIds": [application["id"]]}, pageSize=20
    )
    found = list(reversed(answer.get("deployments", [])))
    return sorted(found, key=lambda one: int(one["createdAt"]))


async def ended(console: Console, name: str, count: int) -> dict[str, Any]:
    """The application's deployment number `count`, once it is over."""

    async def look() -> dict[str, Any] | None:
        found = await deployments(console, name)
        over = len(found) >= count and found[count - 1].get("status", "") in (
            "DEPLOYMENT_SUCCESS",
            "DEPLOYMENT_FAILURE",
        )
        return found[count - 1] if over else None

    result = await eventually(look, 300)
    assert result
    return result


async def test_the_demo_deploys_itself_and_a_push_within_two_seconds(quickstart: Quickstart) -> None:
    async with quickstart.running() as console:
        assert set(await by_name(console)) == APPLICATIONS
        assert (await ended(console, "network", 1))["status"] == "DEPLOYMENT_SUCCESS"
        assert (await ended(console, "greeting", 1))["status"] == "DEPLOYMENT_SUCCESS"
        failed = await ended(console, "limits", 2)
        assert failed["status"] == "DEPLOYMENT_FAILURE"
        assert [one["name"] for one in failed["stages"]] == ["TERRAFORM_APPLY", "SCRIPT_RUN", "ROLLBACK"]
        deployed = quickstart.folder / "deployed"
        assert (deployed / "limits" / "requests.txt").read_text() == "100\n", "rolled back"
        assert (deployed / "greeting" / "greeting.txt").exists()

        waiting = await eventually(lambda: _awaiting_approval(console), 300)
        assert not (deployed / "website").exists(), "nothing is applied before somebody approved"
        await console.call("ApproveStage", deploymentId=waiting["id"], stageId="stage-1")
        assert (await ended(console, "website", 1))["status"] == "DEPLOYMENT_SUCCESS"
        assert "Hello from Git" in (deployed / "website" / "index.html").read_text()

        newcomer = json.loads((quickstart.folder / "newcomer.json").read_text())
        async with httpx.AsyncClient(timeout=60) as http:
            shown = await http.get(f"http://127.0.0.1:{quickstart.port}/quickstart.json")
        assert shown.json() == newcomer
        clone = Clone(quickstart.folder.parent / "clone", newcomer["remote"])
        clone.git("pull", "--quiet", "origin", "main")
        begun = time.monotonic()
        clone.commit_and_push("Another subnet", {"network/terraform.tfvars": 'subnets = ["10.0.9.0/24"]\n'})

        async def running() -> bool:
            found = await deployments(console, "network")
            return len(found) > 1 and found[1].get("status") not in (None, "DEPLOYMENT_PENDING")

        await eventually(running)
        print(f"push → under way: {time.monotonic() - begun:.2f} s")
        assert (await ended(console, "network", 2))["status"] == "DEPLOYMENT_SUCCESS"


async def _awaiting_approval(console: Console) -> dict[str, Any] | None:
    found = await deployments(console, "website")
    stages = found[0].get("stages", []) if found else []
    return (
        found[0]
        if any(one.get("status") == "STAGE_RUNNING" and one["id"] == "stage-1" for one in stages)
        else None
    )


async def test_it_goes_on_where_it_stopped_and_is_removed_as_a_whole(quickstart: Quickstart) -> None:
    async with quickstart.running() as console:
        first = await ended(console, "network", 1)
        password = quickstart.printed("password")
    async with quickstart.running() as console:
        assert quickstart.printed("password") == password
        again = await deployments(console, "network")
        assert [one["id"] for one in again] == [first["id"]], "nothing is deployed twice"
    done = subprocess.run(quickstart.command("--clean"), capture_output=True, text=True, check=True)
    assert "Removed" in done.stdout
    assert not quickstart.folder.exists()


async def test_with_an_emulated_aws_traffic_shifts(quickstart: Quickstart) -> None:
    """A Lambda canary and an ECS blue-green; and again after a stop, when the emulated AWS is a new one."""
    async with quickstart.running("--with-aws-emulator") as console:
        assert set(await by_name(console)) == APPLICATIONS | {"function", "service"}
        assert (await ended(console, "service", 1))["status"] == "DEPLOYMENT_SUCCESS"
        shifted = await ended(console, "function", 2)
        assert shifted["status"] == "DEPLOYMENT_SUCCESS", shifted.get("statusReason")
        shares = [one.get("metadata", {}).get("promote-percentage") for one in shifted["stages"]]
        assert [share for share in shares if share] == ["10", "100"]

        async def asks() -> dict[str, Any] | None:
            found = (await deployments(console, "service"))[1:]
            stages = found[0].get("stages", []) if found else []
            waits = any(
                one["name"] == "WAIT_APPROVAL" and one.get("status") == "STAGE_RUNNING" for one in stages
            )
            return found[0] if waits else None

        blue_green = await eventually(asks, 300)
        assert blue_green
        await console.call("ApproveStage", deploymentId=blue_green["id"], stageId="stage-2")
        assert (await ended(console, "service", 2))["status"] == "DEPLOYMENT_SUCCESS"
    async with quickstart.running("--with-aws-emulator") as console:
        anew = await ended(console, "function", 3)
        assert anew["status"] == "DEPLOYMENT_SUCCESS", anew.get("statusReason")
        assert anew["stages"][0]["name"] == "LAMBDA_SYNC"


def test_a_port_in_use_is_named_with_the_remedy(quickstart: Quickstart) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", quickstart.port + 2))
        taken.listen()
        done = subprocess.run(quickstart.command(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert f"port {quickstart.port + 2} is in use" in done.stderr
    assert "make quickstart PORT=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "damage", ["another directory", "a broken database", "a lost secret", "a file in the way"]
)
async def test_a_broken_directory_is_named_with_the_remedy(quickstart: Quickstart, damage: str) -> None:
    remedy = "make quickstart-clean"
    if damage == "a file in the way":
        async with quickstart.running():
            pass
        shutil.rmtree(quickstart.folder / ".registered")
        (quickstart.folder / ".registered").write_text("no directory")
    elif damage == "another directory":
        quickstart.folder.mkdir()
        (quickstart.folder / "thesis.txt").write_text("years of work")
        remedy = "--state-dir"
    else:
        async with quickstart.running() as console:
            await ended(console, "network", 1)
        if damage == "a broken database":
            database = quickstart.folder / "control-plane" / "pipecd.db"
            for leftover in database.parent.glob("pipecd.db-*"):
                leftover.unlink()
            database.write_bytes(b"not a database " * 500)
        else:
            (quickstart.folder / "secrets" / "piped-key").unlink()
    done = subprocess.run(quickstart.command(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert remedy in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    if damage == "another directory":
        cleaned = subprocess.run(quickstart.command("--clean"), capture_output=True, text=True, check=False)
        assert cleaned.returncode == 1 and "left alone" in cleaned.stderr
        assert (quickstart.folder / "thesis.txt").exists()

"""The demo's Git repository, created from the files in `demo/`, and the commits that demonstrate features."""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

import structlog

from pipecd.errors import ConfigError, PipecdError
from pipecd.quickstart.console import Console
from pipecd.quickstart.git_server import GitServer
from pipecd.quickstart.polling import poll_until
from pipecd.quickstart.state import State

log = structlog.get_logger()

NAME = "demo"
#: Placeholder in the demo's files for the state directory.
_STATE = "@STATE@"
#: File, content and message of the commit to `limits/` that fails its check.
_FAILING_COMMIT = ("limits/terraform.tfvars", "requests = 5000\n", "Raise the request limit")


def create(git: GitServer, state: State) -> None:
    """Create the bare repository with its first commit, unless it exists."""
    bare = git.create(NAME)
    if _git(bare, "for-each-ref", "--count=1"):
        return
    with tempfile.TemporaryDirectory() as folder, as_file(files("pipecd.quickstart") / "demo") as demo:
        work = Path(folder)
        _git(work, "init", "--quiet", "--initial-branch=main")
        for source in sorted(path for path in demo.rglob("*") if path.is_file()):
            target = work / source.relative_to(demo)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text().replace(_STATE, str(state.folder)))
        _commit(work, "Add four applications")
        _git(work, "push", "--quiet", str(bare), "main")


async def demonstrate_rollback(git: GitServer, state: State, console: Console) -> None:
    """Once `limits` is deployed, push a commit that fails and is rolled back. Runs once per directory."""
    marker = state.folder / "rollback-shown"
    if marker.exists():
        return
    await poll_until(lambda: _is_deployed(console, "limits"), interval=1.0)
    await asyncio.to_thread(_push_failing_commit, git)
    marker.touch()


def write_aws_applications(git: GitServer, resources: Mapping[str, str]) -> None:
    """Push the AWS applications' files for a newly started emulator; the commit triggers quick syncs.

    `resources` maps placeholders in the files to their values.
    """
    with tempfile.TemporaryDirectory() as folder, as_file(files("pipecd.quickstart") / "demo_aws") as demo:
        work = Path(folder)
        _git(work, "clone", "--quiet", git.url(NAME), ".")
        values = {**resources, "REMOTE": git.url(NAME)}
        for source in sorted(path for path in demo.rglob("*") if path.is_file()):
            target = work / source.relative_to(demo)
            if target.exists() and source.suffix == ".py":
                # Keep the user's changes to the code.
                continue
            text = source.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for application in ("function", "service"):
            (work / application / "emulator-started.txt").write_text(f"{time.time():.0f}\n")
        _commit(work, "Reset: the emulated AWS was started")
        _git(work, "push", "--quiet", "origin", "main")


async def demonstrate_traffic_routing(git: GitServer, console: Console, since: int) -> None:
    """Push new versions of the two AWS applications once they are deployed, which shifts their traffic.

    `since` is epoch seconds: earlier deployments were lost with the previous emulator.
    """
    for application in ("function", "service"):
        await poll_until(lambda name=application: _is_deployed(console, name, since), interval=1.0)  # type: ignore[misc]
    await asyncio.to_thread(_push_new_versions, git)


def _push_new_versions(git: GitServer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _git(work, "clone", "--quiet", git.url(NAME), ".")
        code, task = work / "function/code/app.py", work / "service/taskdef.json"
        code.write_text(code.read_text().replace("Good morning", "Good day"))
        code.write_text(f"{code.read_text().rstrip()}\n\n\n# Pushed at {time.time():.0f}\n")
        task.write_text(task.read_text().replace("nginx:1.27", "nginx:1.28"))
        _commit(work, "New versions of the function and of the service")
        _git(work, "push", "--quiet", "origin", "main")


async def _is_deployed(console: Console, name: str, since: int = 0) -> bool:
    try:
        response = await console.call("ListApplications", options={"name": name})
    except PipecdError as error:
        log.debug("console_unavailable", error=str(error))
        return False
    applications = response.get("applications", [])
    last = applications[0].get("mostRecentlySuccessfulDeployment", {}) if applications else {}
    return int(last.get("completedAt", 0)) > since


def _push_failing_commit(git: GitServer) -> None:
    path, text, message = _FAILING_COMMIT
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _git(work, "clone", "--quiet", git.url(NAME), ".")
        (work / path).write_text(text)
        if not _git(work, "status", "--porcelain"):
            return
        _commit(work, message)
        _git(work, "push", "--quiet", "origin", "main")


def _commit(work: Path, message: str) -> None:
    _git(work, "add", "--all")
    _git(work, "commit", "--quiet", "--message", message)


def _git(work: Path, *arguments: str) -> str:
    """Run Git without the user's Git configuration and variables. Returns its output. Raises ConfigError."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    identity = {"GIT_AUTHOR_NAME": "PipeCD demo", "GIT_AUTHOR_EMAIL": "demo@localhost"}
    identity |= {"GIT_COMMITTER_NAME": "PipeCD demo", "GIT_COMMITTER_EMAIL": "demo@localhost"}
    no_config = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=work,
            env={**environment, **identity, **no_config},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed", remedy="install it; the agent needs it too") from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(
            f"git {arguments[0]} failed in the demo repository: {error.stderr.strip()}"
        ) from error
    return result.stdout

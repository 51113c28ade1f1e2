"""The demo's Git repository: made from the files in `demo/`, and the second commit that must fail."""

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
from pipecd.quickstart.polling import until
from pipecd.quickstart.state import State

log = structlog.get_logger()

NAME = "demo"
_STATE = "@STATE@"
#: The commit of `limits/` whose check refuses it.
_BREAKING = ("limits/terraform.tfvars", "requests = 5000\n", "Let in more requests")


def create(git: GitServer, state: State) -> None:
    """The bare repository with its first commit; what is there already is left alone."""
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
        _commit(work, "Four applications to begin with")
        _git(work, "push", "--quiet", str(bare), "main")


async def show_rollback(git: GitServer, state: State, console: Console) -> None:
    """Once `limits` runs for the first time, push the commit that fails, so that its rollback is seen."""
    shown = state.folder / "rollback-shown"
    if shown.exists():
        return
    await until(lambda: _deployed(console, "limits"), every=1.0)
    await asyncio.to_thread(_push_breaking, git)
    shown.touch()


def begin_anew(git: GitServer, facts: Mapping[str, str]) -> None:
    """The AWS applications' files for an AWS that has just begun; the commit deploys them by a quick sync."""
    with tempfile.TemporaryDirectory() as folder, as_file(files("pipecd.quickstart") / "demo_aws") as demo:
        work = Path(folder)
        _git(work, "clone", "--quiet", git.url(NAME), ".")
        values = {**facts, "REMOTE": git.url(NAME)}
        for source in sorted(path for path in demo.rglob("*") if path.is_file()):
            target = work / source.relative_to(demo)
            if target.exists() and source.suffix == ".py":
                # What somebody changed stays changed.
                continue
            text = source.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for application in ("function", "service"):
            (work / application / "begun.txt").write_text(f"{time.time():.0f}\n")
        _commit(work, "Begin anew: the emulated AWS was started")
        _git(work, "push", "--quiet", "origin", "main")


async def show_traffic(git: GitServer, console: Console, since: int) -> None:
    """Once both AWS applications run, push new versions of them, so that traffic is seen to shift.

    `since` is epoch seconds: what was deployed until then is gone with the AWS of before.
    """
    for application in ("function", "service"):
        await until(lambda name=application: _deployed(console, name, since), every=1.0)  # type: ignore[misc]
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


async def _deployed(console: Console, name: str, since: int = 0) -> bool:
    try:
        found = await console.call("ListApplications", options={"name": name})
    except PipecdError as error:
        log.debug("console does not answer", why=str(error))
        return False
    known = found.get("applications", [])
    last = known[0].get("mostRecentlySuccessfulDeployment", {}) if known else {}
    return int(last.get("completedAt", 0)) > since


def _push_breaking(git: GitServer) -> None:
    path, text, message = _BREAKING
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
    """Free of the person's own Git configuration and repository."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    who = {"GIT_AUTHOR_NAME": "PipeCD demo", "GIT_AUTHOR_EMAIL": "demo@localhost"}
    who |= {"GIT_COMMITTER_NAME": "PipeCD demo", "GIT_COMMITTER_EMAIL": "demo@localhost"}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=work,
            env={**keep, **who, **quiet},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed", remedy="install it: the agent works with it too") from None
    except subprocess.CalledProcessError as error:
        raise ConfigError(
            f"git {arguments[0]} failed in the demo repository: {error.stderr.strip()}"
        ) from error
    return done.stdout

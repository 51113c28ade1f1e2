"""The demo's Git repository, created from files in this package, and changes that demonstrate features."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
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
_PUSH_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class _Change:
    """Changes a file by replacing patterns."""

    application: str
    path: str
    replacements: Mapping[str, str]
    message: str


#: These fail, and are rolled back.
_FAILING_CHECK = _Change(
    application="limits",
    path="limits/terraform.tfvars",
    replacements={"requests = .*": "requests = 5000"},
    message="Raise the request limit",
)
#: The emulated Google Cloud cannot start images with this tag.
_FAILING_REVISION = _Change(
    application="payment",
    path="payment/service.yaml",
    replacements={"payment:.*": "payment:broken-1"},
    message="A version of the payment service that does not start",
)
#: No registry has this tag, and a simulated cluster cannot pull it either.
_FAILING_ROLLOUT = _Change(
    application="checkout",
    path="checkout/deployment.yaml",
    # The deadline is short, so that the rollback comes soon.
    replacements={"nginx:.*": "nginx:nopull-1", "Seconds: .*": "Seconds: 5"},
    message="A version of the checkout that does not exist",
)
#: New versions whose traffic is shifted.
_NEW_REVISION = _Change(
    application="web",
    path="web/service.yaml",
    replacements={"web:v1": "web:v2"},
    message="A new version of the web service",
)
_NEW_CANARY = _Change(
    application="reviews",
    path="reviews/deployment.yaml",
    replacements={"nginx:1.27": "nginx:1.28"},
    message="A new version of the reviews",
)


def create(git: GitServer, state: State) -> None:
    """Create the bare repository, and commit the demo's applications that were not there before."""
    bare, demo = git.create(NAME), state.demo
    missing = {name for name in demo.applications if not state.was_registered(name)}
    exists = bool(_git(bare, "for-each-ref", "--count=1"))
    if exists and not missing:
        return
    gateway_namespace, _, gateway = state.cluster.gateway.partition("/") if state.cluster else ("", "", "")
    values = {
        "STATE": str(state.folder),
        "GATEWAY_NAMESPACE": gateway_namespace,
        "GATEWAY_NAME": gateway,
        "NAMESPACE": state.cluster.namespace if state.cluster else "",
        "PYTHON": shlex.quote(sys.executable),
    }
    with tempfile.TemporaryDirectory() as folder, as_file(files("pipecd.quickstart") / demo.folder) as root:
        work = Path(folder)
        if exists:
            _git(work, "clone", "--quiet", str(bare), ".")
        else:
            _git(work, "init", "--quiet", "--initial-branch=main")
        for source in sorted(path for path in root.rglob("*") if path.is_file()):
            relative = source.relative_to(root)
            target = work / relative
            if target.exists() or (len(relative.parts) > 1 and relative.parts[0] not in missing):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_replace(source.read_text(), values))
        if _git(work, "status", "--porcelain"):
            _commit(work, "Add four applications")
            _git(work, "push", "--quiet", str(bare), "main")


async def demonstrate_rollback(git: GitServer, state: State, console: Console) -> None:
    """Push a commit that fails and is rolled back, once its application is deployed. Once per directory."""
    failing = _FAILING_ROLLOUT if state.cluster else _FAILING_REVISION if state.google else _FAILING_CHECK
    marker = state.folder / "rollback-shown"
    if marker.exists():
        return
    await poll_until(lambda: _is_deployed(console, failing.application), interval=1.0)
    await asyncio.to_thread(_push_change, git, failing)
    marker.touch()


async def demonstrate_drift(
    state: State, console: Console, application: str, edit: Callable[[], Awaitable[None]]
) -> None:
    """Edit an object of `application` by hand once it is deployed. Runs once per directory."""
    marker = state.folder / "drift-shown"
    if marker.exists():
        return
    await poll_until(lambda: _is_deployed(console, application), interval=1.0)
    try:
        await edit()
    except PipecdError as error:
        # The user may have deleted the object.
        log.warning("drift_not_demonstrated", error=str(error))
        return
    marker.touch()


async def demonstrate_promotion(git: GitServer, state: State, console: Console) -> None:
    """Push a new version of an application once it is deployed, whose traffic is shifted.

    Once per directory.
    """
    change = _NEW_CANARY if state.cluster else _NEW_REVISION
    marker = state.folder / "promotion-shown"
    if marker.exists():
        return
    await poll_until(lambda: _is_deployed(console, change.application), interval=1.0)
    await asyncio.to_thread(_push_change, git, change)
    marker.touch()


def write_aws_applications(git: GitServer, resources: Mapping[str, str]) -> None:
    """Push the AWS applications' files for a newly started emulator; the commit triggers quick syncs.

    `resources` maps placeholders in the files to their values.
    """
    values = {**resources, "REMOTE": git.url(NAME)}

    def change(work: Path) -> None:
        with as_file(files("pipecd.quickstart") / "demo_aws") as demo:
            for source in sorted(path for path in demo.rglob("*") if path.is_file()):
                target = work / source.relative_to(demo)
                if target.exists() and source.suffix == ".py":
                    # Keep the user's changes to the code.
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_replace(source.read_text(), values))
        for application in ("function", "service"):
            (work / application / "emulator-started.txt").write_text(f"{time.time():.0f}\n")

    _push(git, "Reset: the emulated AWS was started", change)


async def demonstrate_traffic_routing(git: GitServer, console: Console, since: int) -> None:
    """Push new versions of the two AWS applications once they are deployed, which shifts their traffic.

    `since` is epoch seconds: earlier deployments were lost with the previous emulator.
    """
    for application in ("function", "service"):
        await poll_until(lambda name=application: _is_deployed(console, name, since), interval=1.0)  # type: ignore[misc]
    await asyncio.to_thread(_push_new_versions, git)


def _push_new_versions(git: GitServer) -> None:
    def change(work: Path) -> None:
        code, task = work / "function/code/app.py", work / "service/taskdef.json"
        code.write_text(code.read_text().replace("Good morning", "Good day"))
        code.write_text(f"{code.read_text().rstrip()}\n\n\n# Pushed at {time.time():.0f}\n")
        task.write_text(task.read_text().replace("nginx:1.27", "nginx:1.28"))

    _push(git, "New versions of the function and of the service", change)


async def _is_deployed(console: Console, name: str, since: int = 0) -> bool:
    try:
        response = await console.call("ListApplications", options={"name": name})
    except PipecdError as error:
        log.debug("console_unavailable", error=str(error))
        return False
    applications = response.get("applications", [])
    last = applications[0].get("mostRecentlySuccessfulDeployment", {}) if applications else {}
    return int(last.get("completedAt", 0)) > since


def _push_change(git: GitServer, change: _Change) -> None:
    def write(work: Path) -> None:
        path = work / change.path
        if path.exists():
            for pattern, replacement in change.replacements.items():
                path.write_text(re.sub(pattern, replacement, path.read_text()))

    _push(git, change.message, write)


def _push(git: GitServer, message: str, change: Callable[[Path], None]) -> None:
    """Push what `change` changes in a clone, if anything. Repeated if someone else pushed meanwhile."""
    for attempt in range(1, _PUSH_ATTEMPTS + 1):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            _git(work, "clone", "--quiet", git.url(NAME), ".")
            change(work)
            if not _git(work, "status", "--porcelain"):
                return
            _commit(work, message)
            try:
                _git(work, "push", "--quiet", "origin", "main")
            except ConfigError:
                if attempt == _PUSH_ATTEMPTS:
                    raise
            else:
                return


def _replace(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders, such as `@STATE@`, replaced."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


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

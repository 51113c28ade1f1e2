"""A repository with 100,000 files and a commit message of 10 MB: time, and what blocks the event loop."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import report_value
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.model.application import GitPath
from pipecd.piped.source.checkout import Sources
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.source.repository import Repository
from pipecd.platforms.registry import load_platform
from pipecd.secrets import Redactor
from tests.loop_latency import loop_latency
from tests.world import app_file

FILES, DIRECTORIES = 100_000, 1000
MESSAGE_MEGABYTES = 10
#: Goals. A delay of the event loop is one of everything that the agent does.
MAX_SECONDS, MAX_CHECKOUT_SECONDS, MAX_DELAY = 10.0, 60.0, 0.5


async def run(folder: Path) -> None:
    remote = folder / "remote.git"
    await asyncio.to_thread(_create, remote, ["First", "y" * MESSAGE_MEGABYTES * 10**6])
    repositories = {"r": Repository(id="r", remote=str(remote), branch="main")}
    async with Mirrors(folder / "home", Credentials(), User()) as mirrors:
        heads = Heads(mirrors, repositories)
        async with _measured("first fetch and reading of the head", MAX_SECONDS):
            head = await heads.load_head("r")
        report_value("characters kept of the message", len(head.commit.message), "")
        sources = Sources(mirrors, repositories, Renderer(None, Redactor().add))
        at, kind = GitPath(repo_id="r", path="app"), load_platform("TERRAFORM")
        async with (
            _measured("checkout and its removal", MAX_CHECKOUT_SECONDS),
            sources.checkout(at, head.commit.hash) as source,
        ):
            assert source.directory.is_dir()
        for reader, maximum in (("first", MAX_CHECKOUT_SECONDS), ("next", 1.0)):
            async with (
                _measured(f"shared checkout, {reader} reader", maximum),
                sources.read(at, head.commit.hash, kind),
            ):
                pass
        await asyncio.to_thread(_create, remote, ["Second"])
        async with _measured("reading of the head after a push", MAX_SECONDS):
            changed = await heads.load_head("r")
        async with _measured("files changed between two commits", MAX_SECONDS):
            await mirrors.changed_files(str(remote), head.commit.hash, changed.commit.hash)


@asynccontextmanager
async def _measured(what: str, maximum: float) -> AsyncIterator[None]:
    started = time.perf_counter()
    async with loop_latency(with_collector=True) as latency:
        yield
        seconds = time.perf_counter() - started
    report_value(f"{FILES} files: {what}", seconds, "s", maximum=maximum)
    report_value("  longest computation on the event loop", latency.longest, "s", maximum=MAX_DELAY)


def _create(remote: Path, messages: list[str]) -> None:
    """Adds a commit for each message; each changes one file of every directory."""
    if not remote.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", remote], check=True)
    head = subprocess.run(
        ["git", "--git-dir", remote, "rev-parse", "--verify", "--quiet", "main"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    lines: list[str] = []
    for number, message in enumerate(messages):
        lines += ["commit refs/heads/main", "committer Ada <ada@example.com> 1700000000 +0000"]
        lines += [f"data {len(message)}", message]
        if head and not number:
            lines.append(f"from {head}")
        count = DIRECTORIES if head or number else FILES
        for file in range(count):
            content = f"{message[:20]} {file}"
            path = f"dir-{file % DIRECTORIES}/sub/file-{file // DIRECTORIES}.txt"
            lines += [f"M 100644 inline {path}", f"data {len(content)}", content]
        config = app_file("app")
        lines += ["M 100644 inline app/app.pipecd.yaml", f"data {len(config)}", config]
    subprocess.run(
        ["git", "--git-dir", remote, "fast-import", "--quiet"],
        input="\n".join(lines).encode() + b"\n",
        check=True,
    )

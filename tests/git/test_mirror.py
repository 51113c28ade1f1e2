"""Mirrors against a real Git remote over HTTP."""

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipecd.errors import ConfigError, NotFound, Temporary
from pipecd.git.command import failure
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.quickstart.git_server import GitServer
from tests.eventually import eventually
from tests.repo import Clone


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "remote") as running:
        running.create("demo")
        yield running


@pytest.fixture
def clone(server: GitServer, tmp_path: Path) -> Clone:
    made = Clone(tmp_path / "clone", server.url("demo"))
    made.commit_and_push("First", {"a/app.yaml": "one", "b/ü 1.txt": "x", "b/new\nline": "y"})
    return made


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[Mirrors]:
    async with Mirrors(tmp_path / "home", Credentials(), User()) as opened:
        yield opened


async def test_head_is_asked_without_fetching(mirrors: Mirrors, clone: Clone) -> None:
    pushed = clone.commit_and_push("Second")
    assert await mirrors.head(clone.remote, "main") == pushed
    assert not mirrors.path(clone.remote).exists()


async def test_files_and_contents_are_read_from_the_mirror(mirrors: Mirrors, clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD")
    assert sorted(await mirrors.files(clone.remote, head)) == ["a/app.yaml", "b/new\nline", "b/ü 1.txt"]
    assert await mirrors.files(clone.remote, head, "a") == ["a/app.yaml"]
    assert await mirrors.read(clone.remote, head, "a/app.yaml") == b"one"
    with pytest.raises(NotFound):
        await mirrors.read(clone.remote, head, "a/none")


async def test_many_contents_come_in_one_call(mirrors: Mirrors, clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD")
    blobs = dict(await mirrors.blobs(clone.remote, head))
    contents = await mirrors.read_blobs(clone.remote, list(blobs.values()))
    assert contents[blobs["a/app.yaml"]] == b"one" and contents[blobs["b/ü 1.txt"]] == b"x"


async def test_a_renamed_file_counts_under_both_names(mirrors: Mirrors, clone: Clone) -> None:
    old = clone.git("rev-parse", "HEAD")
    clone.git("mv", "a/app.yaml", "c.yaml")
    new = clone.commit_and_push("Move")
    await mirrors.fetch(clone.remote)
    assert sorted(await mirrors.changed_files(clone.remote, old, new)) == ["a/app.yaml", "c.yaml"]


async def test_a_commits_facts(mirrors: Mirrors, clone: Clone) -> None:
    made = clone.commit_and_push("Subject\n\nBody")
    facts = await mirrors.commit(clone.remote, "refs/heads/main", "main")
    assert (facts.hash, facts.author, facts.message) == (made, "Ada <ada@example.com>", "Subject\n\nBody")
    assert facts.created_at > 1_600_000_000


async def test_two_hundred_who_ask_at_once_share_one_fetch(
    mirrors: Mirrors, clone: Clone, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(mirrors.fetch(clone.remote) for _ in range(200)))
    started = [task for task in asyncio.all_tasks() if task.get_name().startswith("fetch")]
    assert started == []
    assert len(mirrors._fetches) == 1


async def test_checkouts_are_apart_and_leave_nothing_behind(mirrors: Mirrors, clone: Clone) -> None:
    old = clone.git("rev-parse", "HEAD")
    new = clone.commit_and_push("Second", {"a/app.yaml": "two"})
    await mirrors.fetch(clone.remote)
    async with mirrors.worktree(clone.remote, old) as one, mirrors.worktree(clone.remote, new) as two:
        (one / "a/app.yaml").write_text("changed here")
        assert (two / "a/app.yaml").read_text() == "two"
    assert list((mirrors._home / "worktrees").iterdir()) == []


async def test_a_mirror_that_was_cut_off_is_made_again(mirrors: Mirrors, clone: Clone) -> None:
    await mirrors.fetch(clone.remote)
    (mirrors.path(clone.remote) / "complete").unlink()
    (mirrors.path(clone.remote) / "HEAD").unlink()
    await mirrors.fetch(clone.remote)
    assert await mirrors.files(clone.remote, "main")


async def test_a_missing_branch_names_the_remedy(mirrors: Mirrors, clone: Clone) -> None:
    with pytest.raises(ConfigError, match="has no branch nope; push the branch"):
        await mirrors.head(clone.remote, "nope")


async def test_a_missing_repository_is_the_users_to_mend(mirrors: Mirrors, server: GitServer) -> None:
    with pytest.raises(ConfigError):
        await mirrors.fetch(server.url("nope"))


async def test_an_unreachable_remote_will_pass(mirrors: Mirrors) -> None:
    with pytest.raises(Temporary):
        await mirrors.head("http://127.0.0.1:9/x.git", "main")


async def test_programs_are_no_remotes(mirrors: Mirrors) -> None:
    with pytest.raises(ConfigError):
        await mirrors.head("ext::sh -c true", "main")


async def test_a_submodule_is_not_fetched(mirrors: Mirrors, clone: Clone) -> None:
    clone.write({".gitmodules": '[submodule "x"]\n path = x\n url = http://127.0.0.1:9/evil.git\n'})
    clone.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},x")
    clone.git("add", ".gitmodules")
    clone.git("commit", "--quiet", "--message", "With a submodule")
    head = clone.git("rev-parse", "HEAD")
    clone.push()
    await mirrors.fetch(clone.remote)
    async with mirrors.worktree(clone.remote, head) as root:
        assert (root / ".gitmodules").exists()
        assert not any((root / "x").rglob("*"))


async def test_a_password_is_in_no_argument_and_no_error(tmp_path: Path) -> None:
    with GitServer(tmp_path / "remote", users={"ada": "correct-horse"}) as server:
        server.create("demo")
        wrong = Credentials(username="ada", password="wrong-password")
        async with Mirrors(tmp_path / "wrong", wrong, User()) as mirrors:
            with pytest.raises(ConfigError) as caught:
                await mirrors.head(server.url("demo"), "main")
        assert "wrong-password" not in str(caught.value) and "credentials were refused" in str(caught.value)
        right = Credentials(username="ada", password="correct-horse")
        async with Mirrors(tmp_path / "right", right, User()) as mirrors:
            with _watched_arguments() as seen:

                async def seen_at_work() -> bool:
                    with pytest.raises(ConfigError, match="no branch"):
                        await mirrors.head(server.url("demo"), "main")
                    return any("ls-remote" in line for line in seen)

                await eventually(seen_at_work)
    assert not any("correct-horse" in line for line in seen)
    assert b"correct-horse" not in b"".join(
        path.read_bytes() for path in (tmp_path / "right").rglob("*") if path.is_file()
    )


@contextmanager
def _watched_arguments() -> Iterator[set[str]]:
    """The command lines of all processes, looked at again and again until the block ends."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
            seen.update(listed.stdout.splitlines())

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def test_the_servers_environment_has_nothing_of_the_machine() -> None:
    from pipecd.quickstart import git_server

    assert set(git_server._clean()) == {"PATH", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL"}
    assert os.devnull in git_server._clean().values()


def test_a_commit_whose_name_holds_401_is_no_refused_credential() -> None:
    told = "fatal: ambiguous argument '1401403^{commit}': unknown revision or path not in the working tree."
    assert isinstance(failure("show", told), NotFound)
    assert isinstance(
        failure("fetch", "fatal: unable to access 'x': The requested URL returned error: 403"), ConfigError
    )

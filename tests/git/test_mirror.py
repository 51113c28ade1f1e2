"""Mirrors against a real Git remote over HTTP."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipecd.errors import ConfigError, NotFound, Temporary
from pipecd.git.command import error_from_output
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.quickstart.git_server import GitServer
from tests.eventually import eventually
from tests.repo import Clone, served_clone
from tests.trace_collector import recorded


@pytest.fixture
def clone(server: GitServer, tmp_path: Path) -> Clone:
    clone = served_clone(server, tmp_path, "demo")
    clone.commit_and_push("First", {"a/app.yaml": "one", "b/ü 1.txt": "x", "b/new\nline": "y"})
    return clone


SSH_OUTPUTS: dict[str, tuple[str, type[Exception], str]] = {
    "an unknown host key": (
        "No ED25519 host key is known for git.example.com and you have requested strict checking.\n"
        "Host key verification failed.",
        ConfigError,
        "is not known: add the key",
    ),
    "a changed host key": (
        "@@@@@@@@@@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@@@@@@@@@@\n"
        "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n"
        "Offending ED25519 key in /home/piped/.ssh/known_hosts:3\nHost key verification failed.",
        ConfigError,
        "known_hosts:3 Host key verification failed.; the host's SSH key is not the known one",
    ),
    "a refused key": (
        "git@git.example.com: Permission denied (publickey).",
        ConfigError,
        "Permission denied (publickey).; the credentials were refused",
    ),
    "a key that cannot be read": (
        'Load key "/k": invalid format\ngit@git.example.com: Permission denied (publickey).',
        ConfigError,
        "the SSH key cannot be used",
    ),
    "an unknown host": (
        "ssh: Could not resolve hostname git.example.com: Name or service not known",
        Temporary,
        "Name or service not known; check the host name of the remote",
    ),
    "a certificate that is not trusted": (
        "fatal: unable to access 'https://x.example/': server certificate verification failed. CAfile: none",
        ConfigError,
        "set GIT_SSL_CAINFO of the agent",
    ),
    "a proxy that refuses": (
        "fatal: unable to access 'https://git.example.com/': CONNECT tunnel failed, response 407",
        Temporary,
        "check HTTPS_PROXY, ALL_PROXY and NO_PROXY of the agent",
    ),
    "a port that is closed": (
        "ssh: connect to host git.example.com port 22: Connection refused",
        Temporary,
        "port 22: Connection refused; check that the agent can reach the host",
    ),
}


@pytest.mark.parametrize("case", SSH_OUTPUTS)
def test_what_ssh_says_is_reported_with_a_remedy(case: str) -> None:
    output, error_type, text = SSH_OUTPUTS[case]
    end = (
        "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights"
    )
    error = error_from_output("ls-remote", f"{output}\n{end}\nand the repository exists.")
    assert type(error) is error_type and text in str(error)
    assert "NASTY" not in str(error) and "Could not read from remote" not in str(error)


def test_a_long_output_of_git_is_shortened() -> None:
    error = error_from_output("fetch", "\n".join(f"remote: {'x' * 5000}" for _ in range(5000)))
    assert len(str(error)) < 2000


async def test_git_uses_every_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        for other in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        async with Mirrors(tmp_path / name, Credentials(), User()) as mirrors:
            with pytest.raises(Temporary, match=r"127\.0\.0\.1 port 9"):
                await mirrors.head("https://git.example.com/shop.git", "main")


async def test_a_branch_may_become_a_directory_of_branches(mirrors: Mirrors, clone: Clone) -> None:
    clone.git("push", "--quiet", "origin", "HEAD:refs/heads/release", "HEAD:refs/heads/fix/1")
    await mirrors.fetch(clone.remote)
    clone.git("push", "--quiet", "origin", ":release", ":fix/1")
    clone.git("push", "--quiet", "origin", "HEAD:refs/heads/release/1", "HEAD:refs/heads/fix")
    new = clone.commit_and_push("Second")
    await mirrors.fetch(clone.remote)
    assert (await mirrors.commit(clone.remote, new, "main")).hash == new


async def test_the_head_is_read_without_fetching(mirrors: Mirrors, clone: Clone) -> None:
    pushed = clone.commit_and_push("Second")
    assert await mirrors.head(clone.remote, "main") == pushed
    assert not mirrors.path(clone.remote).exists()


async def test_files_and_contents_are_read_from_the_mirror(mirrors: Mirrors, clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD")
    files = [entry.path for entry in await mirrors.entries(clone.remote, head) if entry.is_file]
    assert sorted(files) == ["a/app.yaml", "b/new\nline", "b/ü 1.txt"]
    assert await mirrors.read(clone.remote, head, "a/app.yaml") == b"one"
    with pytest.raises(NotFound):
        await mirrors.read(clone.remote, head, "a/none")


async def test_several_blobs_are_read_in_one_call(mirrors: Mirrors, clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD")
    entries = await mirrors.entries(clone.remote, head)
    blobs = {entry.path: entry.hash for entry in entries if entry.is_file}
    contents = await mirrors.read_blobs(clone.remote, list(blobs.values()))
    assert contents[blobs["a/app.yaml"]] == b"one" and contents[blobs["b/ü 1.txt"]] == b"x"


async def test_a_renamed_file_is_listed_under_both_names(mirrors: Mirrors, clone: Clone) -> None:
    old = clone.git("rev-parse", "HEAD")
    clone.git("mv", "a/app.yaml", "c.yaml")
    new = clone.commit_and_push("Move")
    await mirrors.fetch(clone.remote)
    assert sorted(await mirrors.changed_files(clone.remote, old, new)) == ["a/app.yaml", "c.yaml"]


@pytest.mark.parametrize(
    ("directory", "messages"),
    [(each, ["In b", "In a"]) for each in ("", ".", "./")]
    + [(each, ["In a"]) for each in ("a", "./a", "a/")],
)
async def test_commits_of_a_directory_are_listed(
    mirrors: Mirrors, clone: Clone, directory: str, messages: list[str]
) -> None:
    """The root has several names; an application may be there."""
    old = clone.git("rev-parse", "HEAD")
    clone.commit("In a", {"a/x": "1"})
    new = clone.commit_and_push("In b", {"b/x": "1"})
    await mirrors.fetch(clone.remote)
    commits = await mirrors.commits_between(clone.remote, old, new, "main", directory=directory, limit=10)
    assert [commit.message for commit in commits] == messages


async def test_a_commits_metadata(mirrors: Mirrors, clone: Clone) -> None:
    pushed = clone.commit_and_push("Subject\n\nBody")
    commit = await mirrors.commit(clone.remote, "refs/heads/main", "main")
    assert (commit.hash, commit.author, commit.message) == (
        pushed,
        "Ada <ada@example.com>",
        "Subject\n\nBody",
    )
    assert commit.created_at > 1_600_000_000


async def test_two_hundred_concurrent_callers_share_one_fetch(
    mirrors: Mirrors, clone: Clone, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(mirrors.fetch(clone.remote) for _ in range(200)))
    running = [task for task in asyncio.all_tasks() if task.get_name().startswith("fetch")]
    assert running == []
    assert len(mirrors._fetches) == 1


async def test_checkouts_are_independent_and_removed(mirrors: Mirrors, clone: Clone) -> None:
    old = clone.git("rev-parse", "HEAD")
    new = clone.commit_and_push("Second", {"a/app.yaml": "two"})
    await mirrors.fetch(clone.remote)
    async with mirrors.worktree(clone.remote, old) as first, mirrors.worktree(clone.remote, new) as second:
        (first / "a/app.yaml").write_text("changed here")
        assert (second / "a/app.yaml").read_text() == "two"
    assert list((mirrors._home / "worktrees").iterdir()) == []


async def test_an_incomplete_mirror_is_created_again(mirrors: Mirrors, clone: Clone) -> None:
    await mirrors.fetch(clone.remote)
    (mirrors.path(clone.remote) / "complete").unlink()
    (mirrors.path(clone.remote) / "HEAD").unlink()
    await mirrors.fetch(clone.remote)
    assert await mirrors.entries(clone.remote, "main")


async def test_a_mirror_whose_fetch_was_killed_is_fetched_again(mirrors: Mirrors, clone: Clone) -> None:
    """A killed git leaves its lock files."""
    await mirrors.fetch(clone.remote)
    for name in ("packed-refs.lock", "shallow.lock", "refs/heads/main.lock"):
        (mirrors.path(clone.remote) / name).touch()
    new = clone.commit_and_push("Second")
    await mirrors.fetch(clone.remote)
    assert (await mirrors.commit(clone.remote, "main", "main")).hash == new


async def test_a_missing_branch_is_reported_with_a_remedy(mirrors: Mirrors, clone: Clone) -> None:
    with pytest.raises(ConfigError, match="has no branch nope; push the branch"):
        await mirrors.head(clone.remote, "nope")


async def test_a_mirror_that_cannot_be_removed_is_completed(
    mirrors: Mirrors, clone: Clone, tmp_path: Path
) -> None:
    """Such as a mount point, or a directory that another process still writes to."""
    elsewhere, mirror = tmp_path / "elsewhere", mirrors.path(clone.remote)
    elsewhere.mkdir()
    mirror.parent.mkdir()
    mirror.symlink_to(elsewhere)
    await mirrors.fetch(clone.remote)
    assert mirror.is_symlink() and (elsewhere / "complete").exists()


async def test_a_missing_repository_is_a_configuration_error(mirrors: Mirrors, server: GitServer) -> None:
    with pytest.raises(ConfigError):
        await mirrors.fetch(server.url("nope"))


async def test_an_unreachable_remote_is_a_temporary_error(mirrors: Mirrors) -> None:
    with pytest.raises(Temporary):
        await mirrors.head("http://127.0.0.1:9/x.git", "main")


async def test_commands_are_rejected_as_remotes(mirrors: Mirrors) -> None:
    with pytest.raises(ConfigError):
        await mirrors.head("ext::sh -c true", "main")


async def test_commands_that_talk_to_the_remote_are_spans_with_its_host(
    mirrors: Mirrors, clone: Clone
) -> None:
    async with recorded() as spans:
        await mirrors.head(clone.remote, "main")
        await mirrors.fetch(clone.remote)
    hosts = {span.name: span.attributes.get("server.address") for span in spans}
    assert hosts["git ls-remote"] == hosts["git fetch"] == "127.0.0.1"
    assert hosts["git init"] is None
    (test,) = (span for span in spans if span.name == "test")
    assert {span.parent for span in spans} == {test.id, ""}, "also the fetch, which others may share"


async def test_a_password_is_never_in_an_argument_or_an_error(tmp_path: Path) -> None:
    with GitServer(tmp_path / "remote", users={"ada": "correct-horse"}) as server:
        server.create("demo")
        wrong = Credentials(username="ada", password="wrong-password")
        async with Mirrors(tmp_path / "wrong", wrong, User()) as mirrors:
            with pytest.raises(ConfigError) as caught:
                await mirrors.head(server.url("demo"), "main")
        assert "wrong-password" not in str(caught.value) and "credentials were refused" in str(caught.value)
        right = Credentials(username="ada", password="correct-horse")
        async with Mirrors(tmp_path / "right", right, User()) as mirrors:
            with _record_command_lines() as command_lines:

                async def command_was_recorded() -> bool:
                    with pytest.raises(ConfigError, match="no branch"):
                        await mirrors.head(server.url("demo"), "main")
                    return any("ls-remote" in line for line in command_lines)

                await eventually(command_was_recorded)
    assert not any("correct-horse" in line for line in command_lines)
    assert b"correct-horse" not in b"".join(
        path.read_bytes() for path in (tmp_path / "right").rglob("*") if path.is_file()
    )


@contextmanager
def _record_command_lines() -> Iterator[set[str]]:
    """The command lines of all processes, polled until the block ends."""
    command_lines: set[str] = set()
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            result = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
            command_lines.update(result.stdout.splitlines())

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield command_lines
    finally:
        stop.set()
        thread.join()


def test_the_git_server_inherits_no_settings_of_the_machine() -> None:
    from pipecd.quickstart import git_server

    assert set(git_server._git_environment()) == {"PATH", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL"}
    assert os.devnull in git_server._git_environment().values()


def test_a_commit_hash_with_401_is_not_an_authentication_error() -> None:
    output = "fatal: ambiguous argument '1401403^{commit}': unknown revision or path not in the working tree."
    assert isinstance(error_from_output("show", output), NotFound)
    assert isinstance(
        error_from_output("fetch", "fatal: unable to access 'x': The requested URL returned error: 403"),
        ConfigError,
    )

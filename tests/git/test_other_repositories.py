"""Checkouts of other repositories from a real Git remote over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipecd.errors import ConfigError
from pipecd.git.credentials import Credentials, User
from pipecd.git.other_repositories import OtherRepositories
from pipecd.quickstart.git_server import GitServer
from tests.repo import Clone


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    with GitServer(tmp_path / "remote") as server:
        server.create("code")
        clone = Clone(tmp_path / "clone", server.url("code"))
        clone.commit_and_push("First", {"src/app.py": "one"})
        yield clone


def other_repositories(home: Path, *trusted: str, password: str = "") -> OtherRepositories:
    credentials = Credentials(username="agent", password=password)
    return OtherRepositories(home=home / "home", credentials=credentials, user=User(), trusted=trusted)


async def content(repositories: OtherRepositories, remote: str, ref: str) -> str:
    async with repositories.checkout(remote, ref) as files:
        return (files / "src/app.py").read_text()


async def test_a_branch_a_tag_and_a_commit_are_checked_out(clone: Clone, tmp_path: Path) -> None:
    first = clone.git("rev-parse", "HEAD")
    clone.git("tag", "-a", "v1", "-m", "one")
    clone.git("push", "--quiet", "origin", "v1")
    clone.commit_and_push("Second", {"src/app.py": "two"})
    repositories = other_repositories(tmp_path)
    assert await content(repositories, clone.remote, "main") == "two"
    assert await content(repositories, clone.remote, "v1") == "one"
    assert await content(repositories, clone.remote, first) == "one"
    assert await content(repositories, clone.remote, first[:9]) == "one"
    assert not any(path.name.startswith("pipecd-checkout-") for path in repositories.home.iterdir())


async def test_a_missing_ref_is_reported(clone: Clone, tmp_path: Path) -> None:
    for ref in ("v9", "0123abc"):
        with pytest.raises(ConfigError, match=f"has no branch, tag or commit {ref}"):
            await content(other_repositories(tmp_path), clone.remote, ref)


async def test_local_paths_and_commands_are_rejected_as_remotes(clone: Clone, tmp_path: Path) -> None:
    for remote in (str(clone.path), f"file://{clone.path}", "ext::sh -c id", "--upload-pack=id"):
        with pytest.raises(ConfigError, match="is not a remote repository"):
            await content(other_repositories(tmp_path), remote, "main")


async def test_the_password_is_sent_only_to_hosts_of_the_agents_configuration(tmp_path: Path) -> None:
    with GitServer(tmp_path / "locked", users={"agent": "very-secret"}) as server:
        server.create("code")
        remote = server.url("code")
        with pytest.raises(ConfigError, match="credentials were refused"):
            untrusted = other_repositories(tmp_path, "https://github.com/a/b", password="very-secret")
            await content(untrusted, remote, "main")
        with pytest.raises(ConfigError, match="has no branch, tag or commit main"):
            await content(other_repositories(tmp_path, remote, password="very-secret"), remote, "main")

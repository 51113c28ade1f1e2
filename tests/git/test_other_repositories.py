"""Checkouts of other repositories from a real Git remote over HTTP."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from pipecd.errors import ConfigError, UserError
from pipecd.git.access import Access
from pipecd.git.credentials import Credentials, User
from pipecd.git.other_repositories import OtherRepositories
from pipecd.git.tree import Trees
from pipecd.quickstart.git_server import GitServer
from tests.lfs_server import lfs_server
from tests.repo import Clone, served_clone


@pytest.fixture
def clone(server: GitServer, tmp_path: Path) -> Clone:
    clone = served_clone(server, tmp_path, "code")
    clone.commit_and_push("First", {"src/app.py": "one"})
    return clone


def other_repositories(home: Path, *trusted: str, password: str = "") -> OtherRepositories:
    credentials = Credentials(username="agent", password=password)
    access = Access(credentials=credentials, remotes=trusted)
    trees = Trees(home / "cache", access, asyncio.Semaphore())
    return OtherRepositories(home=home / "home", user=User(), trees=trees)


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


async def test_submodules_and_lfs_files_are_complete_in_the_directory_that_is_needed(
    clone: Clone, tmp_path: Path
) -> None:
    with lfs_server() as lfs:
        lib = Clone(tmp_path / "lib", clone.remote.replace("code", "lib"))
        subprocess.run(["git", "init", "--quiet", "--bare", tmp_path / "remote/lib.git"], check=True)
        commit = lib.commit_and_push("Lib", {"lib.py": "lib"})
        clone.write({".gitattributes": "*.bin filter=lfs\n", ".lfsconfig": f"[lfs]\n\turl = {lfs.url}\n"})
        clone.write({"src/model.bin": lfs.add(b"model"), "other/none.bin": lfs.add(b"none")})
        modules = '[submodule "x"]\n\tpath = src/lib\n\turl = ../lib.git\n'
        clone.write({".gitmodules": f'{modules}[submodule "y"]\n\tpath = other/y\n\turl = /etc\n'})
        clone.git("add", "--all")
        clone.git("update-index", "--add", "--cacheinfo", f"160000,{commit},src/lib")
        clone.git("update-index", "--add", "--cacheinfo", f"160000,{commit},other/y")
        clone.git("commit", "--quiet", "--message", "Parts")
        clone.push()
        repositories = other_repositories(tmp_path, clone.remote, lfs.url)
        async with repositories.checkout(clone.remote, "main", "src") as files:
            assert (files / "src/model.bin").read_bytes() == b"model"
            assert (files / "src/lib/lib.py").read_text() == "lib"
        assert len(lfs.downloads) == 1
        for path in ("", "other"):
            with pytest.raises(UserError, match="other/y"):
                async with repositories.checkout(clone.remote, "main", path):
                    pass


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

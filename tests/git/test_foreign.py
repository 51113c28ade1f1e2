"""Foreign repositories against a real Git remote over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipecd.errors import ConfigError
from pipecd.git.credentials import Credentials, User
from pipecd.git.foreign import Foreign
from pipecd.quickstart.git_server import GitServer
from tests.repo import Clone


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    with GitServer(tmp_path / "remote") as server:
        server.create("code")
        made = Clone(tmp_path / "clone", server.url("code"))
        made.commit_and_push("First", {"src/app.py": "one"})
        yield made


def foreign(home: Path, *trusted: str, password: str = "") -> Foreign:
    credentials = Credentials(username="agent", password=password)
    return Foreign(home=home / "home", credentials=credentials, user=User(), trusted=trusted)


async def content(where: Foreign, remote: str, ref: str) -> str:
    async with where.checkout(remote, ref) as files:
        return (files / "src/app.py").read_text()


async def test_a_branch_a_tag_and_a_commit_are_found(clone: Clone, tmp_path: Path) -> None:
    first = clone.git("rev-parse", "HEAD")
    clone.git("tag", "-a", "v1", "-m", "one")
    clone.git("push", "--quiet", "origin", "v1")
    clone.commit_and_push("Second", {"src/app.py": "two"})
    here = foreign(tmp_path)
    assert await content(here, clone.remote, "main") == "two"
    assert await content(here, clone.remote, "v1") == "one"
    assert await content(here, clone.remote, first) == "one"
    assert await content(here, clone.remote, first[:9]) == "one"
    assert not any(path.name.startswith("pipecd-foreign-") for path in here.home.iterdir())


async def test_a_ref_that_is_not_there_is_said_so(clone: Clone, tmp_path: Path) -> None:
    for ref in ("v9", "0123abc"):
        with pytest.raises(ConfigError, match=f"has no branch, tag or commit {ref}"):
            await content(foreign(tmp_path), clone.remote, ref)


async def test_the_disk_of_the_agent_is_no_remote(clone: Clone, tmp_path: Path) -> None:
    for remote in (str(clone.path), f"file://{clone.path}", "ext::sh -c id", "--upload-pack=id"):
        with pytest.raises(ConfigError, match="no remote repository"):
            await content(foreign(tmp_path), remote, "main")


async def test_the_password_goes_to_the_hosts_of_the_agents_configuration_alone(tmp_path: Path) -> None:
    with GitServer(tmp_path / "locked", users={"agent": "very-secret"}) as server:
        server.create("code")
        remote = server.url("code")
        with pytest.raises(ConfigError, match="credentials were refused"):
            await content(foreign(tmp_path, "https://github.com/a/b", password="very-secret"), remote, "main")
        with pytest.raises(ConfigError, match="has no branch, tag or commit main"):
            await content(foreign(tmp_path, remote, password="very-secret"), remote, "main")

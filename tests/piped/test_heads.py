"""The head of a repository, which several loops of the agent read at the same time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipecd.errors import Temporary
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.piped.source.heads import Heads
from pipecd.piped.source.repository import Repository
from pipecd.quickstart.git_server import GitServer
from tests.repo import Clone, served_clone


class CountingMirrors(Mirrors):
    #: How often `ls-remote` has answered.
    answers = 0

    async def head(self, remote: str, branch: str) -> str:
        commit = await super().head(remote, branch)
        self.answers += 1
        self.answered.set()
        await self.going_on.wait()
        return commit

    async def __aenter__(self) -> "CountingMirrors":
        self.answered, self.going_on = asyncio.Event(), asyncio.Event()
        await super().__aenter__()
        return self


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "remote") as server:
        yield server


@pytest.fixture
def clone(server: GitServer, tmp_path: Path) -> Clone:
    clone = served_clone(server, tmp_path, "demo")
    clone.commit_and_push("First", {"a/note": "one"})
    return clone


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[CountingMirrors]:
    async with CountingMirrors(tmp_path / "mirrors", Credentials(), User()) as mirrors:
        yield mirrors


@pytest.fixture
def heads(server: GitServer, clone: Clone, mirrors: CountingMirrors) -> Heads:
    return Heads(mirrors, {"demo": Repository(id="demo", remote=server.url("demo"), branch="main")})


async def test_calls_at_the_same_time_ask_the_remote_once(heads: Heads, mirrors: CountingMirrors) -> None:
    mirrors.going_on.set()
    loaded = await asyncio.gather(*(heads.load_head("demo") for _ in range(3)))
    assert mirrors.answers == 1
    assert loaded[0] is loaded[1] is loaded[2]
    await heads.load_head("demo")
    assert mirrors.answers == 2, "a later call asks again"


async def test_a_call_that_began_after_the_answer_does_not_get_it(
    heads: Heads, mirrors: CountingMirrors, clone: Clone
) -> None:
    before = asyncio.create_task(heads.load_head("demo"))
    await mirrors.answered.wait()
    pushed = await asyncio.to_thread(clone.commit_and_push, "Second", {"a/note": "two"})
    after = [asyncio.create_task(heads.load_head("demo")) for _ in range(2)]
    # They wait for the first one.
    await asyncio.sleep(0)
    mirrors.going_on.set()
    assert (await before).commit.hash != pushed
    assert [head.commit.hash for head in await asyncio.gather(*after)] == [pushed] * 2
    assert mirrors.answers == 2


async def test_each_call_gets_an_error_of_its_own(heads: Heads, server: GitServer) -> None:
    server.stop()
    errors = await asyncio.gather(*(heads.load_head("demo") for _ in range(2)), return_exceptions=True)
    assert [type(error) for error in errors] == [Temporary] * 2
    assert errors[0] is not errors[1]

"""Committing in a mirror and pushing, with real Git and a bare repository with hooks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipecd.errors import Conflict, NotFound, PipecdError, Refused
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from tests.repo import Clone, local_clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = local_clone(tmp_path)
    clone.commit_and_push("Begin", {"a": "1\r\n", "dir/b": "1\n", "run.sh": "x\n"})
    (clone.path / "run.sh").chmod(0o755)
    clone.commit_and_push("Make it executable")
    return clone


@pytest.fixture
async def mirrors(tmp_path: Path, clone: Clone) -> AsyncIterator[Mirrors]:
    async with Mirrors(
        tmp_path / "home", Credentials(), User(name="piped", email="p@example.com")
    ) as mirrors:
        await mirrors.fetch(clone.remote)
        yield mirrors


async def commit(mirrors: Mirrors, clone: Clone, files: dict[str, bytes], message: str = "Update") -> str:
    head = await mirrors.head(clone.remote, "main")
    entries = await mirrors.find_entries(clone.remote, head, list(files))
    contents = {path: (entries[path].mode, content) for path, content in files.items()}
    return await mirrors.commit_files(clone.remote, head, contents, message)


async def test_only_the_named_files_change(mirrors: Mirrors, clone: Clone) -> None:
    new = await commit(mirrors, clone, {"a": b"2\r\n", "run.sh": b"y\n"}, "Update\n\nPipecd-Event: e1\n")
    await mirrors.push(clone.remote, new, "main")
    clone.git("pull", "--quiet", "origin", "main")
    assert clone.git("rev-parse", "HEAD") == new
    assert (clone.path / "a").read_bytes() == b"2\r\n"
    assert clone.git("ls-tree", "HEAD", "run.sh").startswith("100755")
    assert clone.git("diff", "--name-only", "HEAD~1", "HEAD").split() == ["a", "run.sh"]
    assert clone.git("log", "-1", "--format=%an <%ae>") == "piped <p@example.com>"
    assert await mirrors.find_trailers(clone.remote, new, "Pipecd-Event", 10) == {"e1"}
    assert await mirrors.find_trailers(clone.remote, new, "Pipecd-Event-Other", 10) == set()


async def test_a_branch_that_moved_is_a_conflict(mirrors: Mirrors, clone: Clone) -> None:
    new = await commit(mirrors, clone, {"a": b"2\n"})
    clone.commit_and_push("Meanwhile", {"dir/b": "2\n"})
    for _ in range(2):
        with pytest.raises(Conflict, match=r"main of .* moved"):
            await mirrors.push(clone.remote, new, "main")
        # Git's words differ once the mirror has the new head.
        await mirrors.fetch(clone.remote)


async def test_a_rule_of_the_remote_is_reported_with_its_words(mirrors: Mirrors, clone: Clone) -> None:
    hook = Path(clone.remote) / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'Only maintainers may push to main.' >&2\nexit 1\n")
    hook.chmod(0o755)
    new = await commit(mirrors, clone, {"a": b"2\n"})
    with pytest.raises(Refused, match=r"pre-receive hook declined.*Only maintainers may push to main"):
        await mirrors.push(clone.remote, new, "main")


async def test_a_branch_is_rewritten_only_from_the_expected_commit(mirrors: Mirrors, clone: Clone) -> None:
    first = await commit(mirrors, clone, {"a": b"2\n"})
    await mirrors.push(clone.remote, first, "update", expected="")
    second = await commit(mirrors, clone, {"a": b"3\n"})
    with pytest.raises(Conflict):
        await mirrors.push(clone.remote, second, "update", expected="")
    await mirrors.push(clone.remote, second, "update", expected=first)
    assert await mirrors.head(clone.remote, "update") == second


async def test_an_unreachable_remote_is_no_conflict(mirrors: Mirrors, clone: Clone) -> None:
    new = await commit(mirrors, clone, {"a": b"2\n"})
    Path(clone.remote).rename(f"{clone.remote}-gone")
    with pytest.raises(PipecdError) as raised:
        await mirrors.push(clone.remote, new, "main")
    assert not isinstance(raised.value, Conflict | Refused | NotFound)

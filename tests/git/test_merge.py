"""Merging in a mirror, with real Git; no branch is changed."""

from pathlib import Path

import pytest

from pipecd.errors import Refused
from pipecd.git.mirror import Mirrors
from tests.repo import Clone, local_clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    clone = local_clone(tmp_path)
    clone.commit_and_push("Begin", {"a": "1\n", "b": "1\n"})
    return clone


def branch(clone: Clone, name: str, files: dict[str, str | None], *, start: tuple[str, ...] = ()) -> str:
    clone.git("checkout", "--quiet", *(start or ("-b", name)))
    commit = clone.commit(name, files)
    clone.git("push", "--quiet", "origin", f"HEAD:refs/heads/{name}")
    clone.git("checkout", "--quiet", "main")
    return commit


async def test_a_merge_contains_both_sides_and_is_reproducible(mirrors: Mirrors, clone: Clone) -> None:
    head = branch(clone, "topic", {"a": "2\n", "new": "x\n"})
    base = clone.commit_and_push("Meanwhile", {"b": "2\n"})
    await mirrors.fetch(clone.remote)
    merged = await mirrors.merge(clone.remote, base, head)
    assert await mirrors.changed_files(clone.remote, base, merged) == ["a", "new"]
    assert await mirrors.read(clone.remote, merged, "b") == b"2\n"
    async with mirrors.worktree(clone.remote, merged) as tree:
        assert (tree / "a").read_text() == "2\n"
    assert await mirrors.merge(clone.remote, base, head) == merged
    assert clone.git("ls-remote", "origin").count("\n") == 2
    await mirrors.fetch(clone.remote)
    assert (await mirrors.commit(clone.remote, merged, "")).hash == merged


async def test_conflicts_are_named(mirrors: Mirrors, clone: Clone) -> None:
    head = branch(clone, "topic", {"a": "2\n", "b": None})
    base = clone.commit_and_push("Meanwhile", {"a": "3\n", "b": "3\n"})
    await mirrors.fetch(clone.remote)
    with pytest.raises(Refused, match=r"the branches conflict in a, b; merge or rebase"):
        await mirrors.merge(clone.remote, base, head)


async def test_histories_without_a_common_commit_are_refused(mirrors: Mirrors, clone: Clone) -> None:
    base = clone.git("rev-parse", "HEAD")
    head = branch(clone, "other", {"c": "1\n"}, start=("--orphan", "other"))
    await mirrors.fetch(clone.remote)
    with pytest.raises(Refused, match="no common commit"):
        await mirrors.merge(clone.remote, base, head)


async def test_merging_an_ancestor_changes_nothing(mirrors: Mirrors, clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD")
    base = clone.commit_and_push("More", {"b": "2\n"})
    await mirrors.fetch(clone.remote)
    merged = await mirrors.merge(clone.remote, base, head)
    assert await mirrors.changed_files(clone.remote, base, merged) == []

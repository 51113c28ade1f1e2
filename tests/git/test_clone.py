"""The clone that tests push from: its pushes are refused as those of `git push` are."""

from pathlib import Path

import pytest

from tests.repo import Clone, local_clone


def test_a_push_is_refused_until_it_contains_what_others_pushed(tmp_path: Path) -> None:
    clone = local_clone(tmp_path)
    clone.commit_and_push("Begin", {"a": "1"})
    # Without the folder of the repository, `git push` is called.
    other = Clone(tmp_path / "other", f"file://{clone.remote}")
    other.git("pull", "--quiet", "origin", "main")
    pushed = other.commit_and_push("By another", {"b": "1"})
    clone.commit("Mine", {"c": "1"})
    with pytest.raises(AssertionError):
        clone.push()
    assert clone.git("ls-remote", "origin", "main").split()[0] == pushed
    clone.git("pull", "--quiet", "--rebase", "origin", "main")
    clone.push()
    other.git("pull", "--quiet", "origin", "main")
    assert (other.path / "c").read_text() == "1"
    other.commit("Ahead", {"d": "1"})
    other.push()
    with pytest.raises(AssertionError):
        clone.commit_and_push("Behind", {"e": "1"})

"""Path patterns: a table of cases, and properties of all patterns."""

import string
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.model.paths import find_touched_path, is_within, match_paths
from pipecd.patterns import PathPattern


def patterns(texts: Iterable[str]) -> list[PathPattern]:
    return [PathPattern.parse(text) for text in texts]


def matches(texts: Iterable[str], path: str) -> bool:
    return bool(match_paths(patterns(texts), [path]))


CASES = [
    ("a.yaml", "a.yaml", True),
    ("a.yaml", "b/a.yaml", False),
    ("a.yaml", "aXyaml", False),
    ("*.yaml", "a.yaml", True),
    ("*.yaml", "dir/a.yaml", False),
    ("dir", "dir/x/y", True),
    ("dir", "dirt/x", False),
    ("dir/", "dir/x", True),
    ("./dir", "dir/x", True),
    ("dir/*", "dir/x/y", True),
    ("**/a.yaml", "a.yaml", True),
    ("**/a.yaml", "x/y/a.yaml", True),
    ("x/**", "x/y/z", True),
    ("x/**", "y/x/z", False),
    ("x/**/z", "x/z", True),
    ("x/**/z", "x/a/b/z", True),
    ("file?.txt", "file1.txt", True),
    ("file?.txt", "file/.txt", False),
    ("(a|b)/c", "b/c", True),
    ("(a|b)/c", "d/c", False),
    ("v[0-9]+/m.tf", "v12/m.tf", True),
    ("v[0-9]+/m.tf", "vx/m.tf", False),
    ("cost$.txt", "cost$.txt", True),
    (r"\*.md", "*.md", True),
    (r"\*.md", "a.md", False),
    (" a.yaml ", "a.yaml", True),
    ("a.yaml", "a.yaml\n", False),
    ("", "a", False),
    (".", "a", False),
]


@pytest.mark.parametrize(
    ("text", "path", "expected"), CASES, ids=[f"{text} {path!r}" for text, path, _ in CASES]
)
def test_a_pattern_matches(text: str, path: str, expected: bool) -> None:
    assert matches([text], path) is expected


@pytest.mark.parametrize("text", ["[", "[]a]", "a[b", "[a-]", "a\\", "(", "!", "a{1001}", "[^]"])
def test_an_invalid_pattern_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|no file"):
        PathPattern.parse(text)


def test_an_exclusion_among_patterns_excludes_files() -> None:
    assert matches(["docs", "!docs/api"], "docs/a.md")
    assert not matches(["docs", "!docs/api"], "docs/api/b.md")
    assert not matches(["!docs"], "src/a.py")


TOUCHES = {
    "a file of the application": (["app/main.tf"], (), (), "app/main.tf"),
    "a file outside it": (["application/main.tf"], (), (), None),
    "a file that matches paths": (["modules/x.tf"], ("modules/*",), (), "modules/x.tf"),
    "one ignored file among others": (["app/main.tf", "app/README.md"], (), ("**/*.md",), None),
    "ignores takes precedence over paths": (["modules/x.tf"], ("modules",), ("modules/x.tf",), None),
    "an exclusion alone has no effect": (["modules/x.tf"], ("modules", "!modules/x.tf"), (), "modules/x.tf"),
    "no file at all": ([], ("**",), (), None),
}


@pytest.mark.parametrize("case", TOUCHES.values(), ids=TOUCHES.keys())
def test_an_application_is_affected_by(
    case: tuple[list[str], tuple[str, ...], tuple[str, ...], str | None],
) -> None:
    changed, paths, ignores, expected = case
    touched = find_touched_path(changed, directory="app", paths=patterns(paths), ignores=patterns(ignores))
    assert touched == expected


@pytest.mark.parametrize("directory", [".", "./", "", "/"])
def test_an_application_at_the_root_contains_every_file(directory: str) -> None:
    assert is_within("anything/at/all", directory)


NAMES = st.text(string.ascii_letters + string.digits + "-_ é", min_size=1).filter(
    lambda name: name.strip() == name
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


@given(PATHS)
def test_a_plain_path_matches_itself_and_everything_below_it(path: str) -> None:
    assert matches([path], path)
    assert matches([path], f"{path}/below/it")
    assert matches(["**"], path)
    assert not matches([path], f"beside/{path}") or path.startswith("beside")


@given(PATHS, PATHS)
def test_two_stars_match_any_number_of_directories(above: str, below: str) -> None:
    assert matches([f"{above}/**/{below}"], f"{above}/{below}")
    assert matches([f"{above}/**/{below}"], f"{above}/between/{below}")


@given(st.text(max_size=30), PATHS)
def test_any_text_is_a_valid_pattern_or_rejected_with_a_message(text: str, path: str) -> None:
    try:
        PathPattern.parse(text)
    except ValueError as error:
        assert str(error)
        return
    assert matches([text], path) in (True, False)

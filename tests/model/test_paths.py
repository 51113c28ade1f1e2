"""What patterns of files mean: cases a reader can check by eye, and what holds for all of them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecd.model.paths import matches, pattern, touched, within

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


@pytest.mark.parametrize(("text", "path", "fits"), CASES, ids=[f"{text} {path!r}" for text, path, _ in CASES])
def test_a_pattern_means(text: str, path: str, fits: bool) -> None:
    assert matches([text], path) is fits


@pytest.mark.parametrize("text", ["[", "[]a]", "a[b", "[a-]", "a\\", "(", "!", "+", "[^]"])
def test_what_is_no_pattern_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|no file"):
        pattern(text)


def test_an_exclusion_among_patterns_takes_away() -> None:
    assert matches(["docs", "!docs/api"], "docs/a.md")
    assert not matches(["docs", "!docs/api"], "docs/api/b.md")
    assert not matches(["!docs"], "src/a.py")


TOUCHES = {
    "a file of the application": (["app/main.tf"], (), (), "app/main.tf"),
    "a file beside it": (["application/main.tf"], (), (), None),
    "a file that paths names": (["modules/x.tf"], ("modules/*",), (), "modules/x.tf"),
    "one ignored file among others": (["app/main.tf", "app/README.md"], (), ("**/*.md",), None),
    "ignores beats paths": (["modules/x.tf"], ("modules",), ("modules/x.tf",), None),
    "an exclusion alone means nothing": (["modules/x.tf"], ("modules", "!modules/x.tf"), (), "modules/x.tf"),
    "no file at all": ([], ("**",), (), None),
}


@pytest.mark.parametrize("case", TOUCHES.values(), ids=TOUCHES.keys())
def test_an_application_is_touched_by(
    case: tuple[list[str], tuple[str, ...], tuple[str, ...], str | None],
) -> None:
    changed, paths, ignores, found = case
    assert touched(changed, directory="app", paths=paths, ignores=ignores) == found


@pytest.mark.parametrize("directory", [".", "./", "", "/"])
def test_an_application_at_the_root_has_every_file(directory: str) -> None:
    assert within("anything/at/all", directory)


def _trimmed(name: str) -> bool:
    return name.strip() == name


NAMES = st.text(string.ascii_letters + string.digits + "-_ é", min_size=1).filter(
    lambda name: name.strip() == name
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


@given(PATHS)
def test_a_plain_path_means_itself_and_what_is_below_it(path: str) -> None:
    assert matches([path], path)
    assert matches([path], f"{path}/below/it")
    assert matches(["**"], path)
    assert not matches([path], f"beside/{path}") or path.startswith("beside")


@given(PATHS, PATHS)
def test_two_stars_bridge_any_directories(above: str, below: str) -> None:
    assert matches([f"{above}/**/{below}"], f"{above}/{below}")
    assert matches([f"{above}/**/{below}"], f"{above}/between/{below}")


@given(st.text(max_size=30), PATHS)
def test_any_text_either_is_a_pattern_or_says_why_not(text: str, path: str) -> None:
    try:
        pattern(text)
    except ValueError as error:
        assert str(error)
        return
    assert matches([text], path) in (True, False)

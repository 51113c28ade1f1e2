"""Links between the documentation's pages, and the navigation of the site."""

import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docsite import links, site

ROOT = Path(__file__).parents[2]


def test_no_link_of_the_documentation_is_broken() -> None:
    assert list(links.broken_links(ROOT, links.pages(ROOT))) == []


def test_the_navigation_contains_every_page() -> None:
    nav = list(navigation(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    listed_elsewhere = {name for name in links.pages(ROOT) if name.startswith("docs/decisions/0")}
    assert sorted(nav) == sorted(set(links.pages(ROOT)) - listed_elsewhere), "edit nav in zensical.toml"


def test_the_first_page_leads_to_every_guide() -> None:
    first = (ROOT / "README.md").read_text()
    guides = [name for name in links.pages(ROOT) if name.startswith("docs/guide/")]
    assert [name for name in guides if f"]({name})" not in first] == []


def test_a_page_has_no_two_headings_of_one_name() -> None:
    """The second one has no anchor of its own, and often repeats the first."""
    problems = []
    for name in links.pages(ROOT):
        text = re.sub(r"^( *)```.*?^ *```", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
        headings = Counter(re.findall(r"^##? .+$", text, re.MULTILINE))
        problems += [f"{name}: {heading}" for heading, count in headings.items() if count > 1]
    assert problems == []


def navigation(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            yield from navigation(target) if isinstance(target, list) else [target]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Git repository with two pages and what they link to."""
    files = {
        "README.md": "# Home\n\n![picture](docs/images/a.png) [guide](docs/guide.md#first-step)\n",
        "docs/guide.md": "# Guide\n\n## First step\n\nBack [home](../README.md).\n",
        "docs/images/a.png": "",
        "docs/images/unused.png": "",
        "src/code.py": "",
        "tests/notes.md": "[broken](nowhere.md)",
        "ignored/other.md": "[broken](nowhere.md)",
        ".gitignore": "/ignored/\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def test_pages_are_the_markdown_files_that_git_does_not_ignore(repository: Path) -> None:
    assert links.pages(repository) == ["README.md", "docs/guide.md"]
    assert list(links.broken_links(repository, links.pages(repository))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a](docs/missing.md)", "there is no file docs/missing.md"),
        ("![a](images/a.png)", "there is no file images/a.png"),
        ("[a](docs)", "there is no file docs"),
        ("[a](../outside.md)", "there is no file ../outside.md"),
        ("[a](docs/guide.md#second-step)", "docs/guide.md has no heading with this anchor"),
        ("[a](#nothing)", "README.md has no heading with this anchor"),
        ("[a][reference]\n\n[reference]: docs/missing.md", "there is no file docs/missing.md"),
    ],
)
def test_broken_links_are_reported(repository: Path, text: str, message: str) -> None:
    (repository / "README.md").write_text(f"# Home\n\n{text}\n")
    (problem,) = links.broken_links(repository, links.pages(repository))
    assert problem.startswith("README.md: ") and problem.endswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://example.com/missing.md) <https://example.com> [b](mailto:a@example.com)",
        "`[a](missing.md)`",
        "```\n[a](missing.md)\n```",
        "[a](docs/guide.md#first-step) [b](#home) [c](src/code.py)",
        "| [a](docs/guide.md) |\n|---|\n| [b](docs/guide.md) |",
    ],
)
def test_other_links_are_not_reported(repository: Path, text: str) -> None:
    (repository / "README.md").write_text(f"# Home\n\n{text}\n")
    assert list(links.broken_links(repository, links.pages(repository))) == []


def test_repeated_headings_have_numbered_anchors() -> None:
    assert links.anchors("# A `b`\n\n## C\n\n## C\n\n## C\n") == {"a-b", "c", "c-1", "c-2"}


def test_the_site_consists_of_the_pages_and_what_they_link_to(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "build"
    (target / "old").mkdir(parents=True)
    site.collect(repository, target)
    copied = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert copied == {"README.md", "docs/guide.md", "docs/images/a.png"}
    assert not (target / "old").exists()

"""Links between the Markdown files of the repository.

Read with a Markdown parser, so that examples in code blocks are not links. Only links inside the repository
are checked: targets must exist, and anchors must be headings of the target.
"""

import posixpath
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from docsite.markdown import slug

#: Markdown files that are not documentation.
_EXCLUDED = (".github/", "src/", "tests/", "web/")


def pages(root: Path) -> Sequence[str]:
    """The documentation: all Markdown files of the work tree that Git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", "*.md"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(name for name in listed if not name.startswith(_EXCLUDED) and (root / name).is_file())


def links(text: str) -> Iterator[str]:
    """The targets of links and images, as written, except those to other hosts."""
    for token in _inline_tokens(text):
        target = token.attrGet("href") or token.attrGet("src")
        if target and "://" not in str(target) and not str(target).startswith("mailto:"):
            yield str(target)


def anchors(text: str) -> set[str]:
    """The anchors of all headings. A repeated heading has a number, as on Git hosts."""
    found: dict[str, int] = {}
    for opening, content in pairwise(_parse(text)):
        if opening.type == "heading_open":
            name = slug("".join(child.content for child in content.children or ()))
            found[name] = found.get(name, -1) + 1
    return {
        f"{name}-{number}" if number else name for name, last in found.items() for number in range(last + 1)
    }


def linked_files(root: Path, names: Sequence[str]) -> Iterator[str]:
    """Files other than pages that the pages link to, such as images. May contain duplicates."""
    for name in names:
        for target in links((root / name).read_text()):
            path = resolve(name, target)
            if path not in names and (root / path).is_file():
                yield path


def broken_links(root: Path, names: Sequence[str]) -> Iterator[str]:
    """One message for each link whose target or anchor does not exist."""
    texts: Mapping[str, str] = {name: (root / name).read_text() for name in names}
    for name, text in texts.items():
        for target in links(text):
            path, anchor = resolve(name, target), unquote(target.partition("#")[2])
            if path.startswith("../") or not (root / path).is_file():
                yield f"{name}: {target}: there is no file {path}"
            elif anchor and path in texts and anchor not in anchors(texts[path]):
                yield f"{name}: {target}: {path} has no heading with this anchor"


def resolve(page: str, target: str) -> str:
    """The path of a link's target from the root of the repository."""
    path = unquote(target.partition("#")[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page


def _inline_tokens(text: str) -> Iterator[Token]:
    for block in _parse(text):
        yield from block.children or ()


@cache
def _parse(text: str) -> Sequence[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)

"""Collects the files of the documentation site, for the site generator.

The site consists of all Markdown files of the repository in their own layout, not only docs/, so that a link
is valid both in the site and on a Git host. README.md is the home page.
"""

import shutil
from pathlib import Path

from docsite.links import linked_files, pages


def collect(root: Path, target: Path) -> None:
    """Replace `target` by a copy of all pages and of the files that they link to."""
    shutil.rmtree(target, ignore_errors=True)
    names = pages(root)
    for name in {*names, *linked_files(root, names)}:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy)

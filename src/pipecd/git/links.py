"""Symbolic links of a checkout, whose author may be hostile."""

import os
from collections.abc import Iterator
from pathlib import Path

from pipecd.errors import Refused


def refuse_escaping_links(root: Path, directory: Path) -> None:
    """Raise Refused if a symbolic link below `directory` points outside the checkout."""
    real_root = root.resolve()
    for path in paths_below(directory):
        # `resolve` raises for a link to itself.
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(real_root):
            raise Refused(
                f"the link {path.relative_to(root)} points outside the repository",
                remedy="replace it with a file, or with a relative link inside the repository",
            )


def paths_below(directory: Path) -> Iterator[Path]:
    """All directories, files and links below `directory`. Links are not followed."""
    for parent, directories, files in os.walk(directory):
        yield from (Path(parent, name) for name in (*directories, *files))

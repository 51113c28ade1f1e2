"""Which directories of a repository a desired state is made of.

Determined when it is read from a checkout. Afterwards, a checkout of these directories is enough for the same
application (`checkout`), and a commit that changes none of them changes nothing for it (`observe`).
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from pipecd.git.links import paths_below
from pipecd.model.stage import Source

#: More files than this are not searched for links; the desired state is then read again at every commit.
MAX_SEARCHED_FILES = 20_000


def find_read_paths(path: str, source: Source, others: Collection[Path] | None) -> Sequence[str] | None:
    """The directories, relative to the repository's root, of what was read: the application's, and `others`.

    `path` is the application's path in the repository. None if the directories cannot be determined: `others`
    is None, a path is outside the repository, or there are links. Runs in a thread.
    """
    if others is None:
        return None
    root = source.root.resolve()
    written = [root / path, *(source.directory / other for other in others)]
    directories = {_directory(Path(os.path.normpath(place))) for place in written}
    for directory in directories:
        if directory.resolve() != directory or not directory.is_relative_to(root) or _has_links(directory):
            return None
    return sorted(str(directory.relative_to(root)) for directory in directories)


def _directory(path: Path) -> Path:
    """The directory of a file; of a file that does not exist, the nearest one that does."""
    while not path.is_dir():
        path = path.parent
    return path


def _has_links(directory: Path) -> bool:
    """Whether anything below `directory` leads somewhere else."""
    for searched, path in enumerate(paths_below(directory), start=1):
        if searched > MAX_SEARCHED_FILES or path.is_symlink():
            return True
    return False

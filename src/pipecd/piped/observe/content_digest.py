"""The digest of everything that a desired state is made of, computed from Git's hashes without a checkout.

When a desired state is read from a checkout, `find_read_paths` returns which directories of the repository it
is made of. As long as their hashes are the same, a new commit changes nothing for the application.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipecd.git.links import paths_below
from pipecd.model.application import Application
from pipecd.model.stage import Source
from pipecd.piped.source.heads import Head

#: More files than this are not searched for links; the desired state is then read again at every commit.
MAX_SEARCHED_FILES = 20_000


def find_read_paths(path: str, source: Source, others: Collection[Path] | None) -> Sequence[str] | None:
    """The directories, relative to the repository's root, of what was read: the application's, and `others`.

    `path` is the application's path in the repository. None if the directories cannot be told: `others` is
    None, a path is outside the repository, or there are links. Runs in a thread.
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


def content_digest(application: Application, head: Head, read_paths: Sequence[str] | None) -> bytes:
    """Equal for two commits if the application's desired state is."""
    path = application.git_path
    content: list[object] = [application.kind, path.path, path.config_filename]
    hashes = None if read_paths is None else [_hash(head, read_path) for read_path in read_paths]
    if hashes is None or None in hashes:
        content.append(head.commit.hash)
    else:
        parents = {parent for read_path in read_paths or () for parent in _parents(read_path)}
        content += [read_paths, hashes]
        content.append(
            [
                (name, value)
                for name, value in sorted(head.checkout_settings.items())
                if name.rpartition("/")[0] in parents
            ]
        )
    return hashlib.sha256(json.dumps(content).encode()).digest()


def _hash(head: Head, path: str) -> str | None:
    """None for the root, which every commit changes, and for a directory that does not exist."""
    return head.directories.get(path)


def _parents(path: str) -> Iterator[str]:
    """The directories above `path`; the root is empty."""
    for parent in PurePosixPath(path).parents:
        yield "" if str(parent) == "." else str(parent)


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

"""The digest of everything that a desired state is made of, computed from Git's hashes without a checkout.

As long as the hashes of the directories in `source.read_paths` are the same, a new commit changes nothing for
the application.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pipecd.model.application import Application
from pipecd.piped.source.heads import Head


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

"""Exclusive lock on a directory: the home directory of an agent or a launcher."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipecd.errors import ConfigError


@contextmanager
def lock_directory(directory: Path, *, owner: str, others: str, mode: int = 0o777) -> Iterator[Path]:
    """Create `directory` if it is missing and lock it until the block ends.

    Raises ConfigError if the directory cannot be written or another process has locked it. `owner` ("the
    agent") and `others` ("another agent") appear in these messages.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=mode)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"{directory} cannot be written: {error.strerror}",
            remedy=f"give {owner} its own directory with --home-dir",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{others} is using {directory}",
                remedy="stop it first, or choose another directory with --home-dir",
            ) from error
        yield directory

"""A folder that one process uses at a time: an agent's, or a launcher's."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipecd.errors import ConfigError


@contextmanager
def own_folder(folder: Path, *, owner: str, others: str, mode: int = 0o777) -> Iterator[Path]:
    """`folder`, made where it is missing, ours until the block ends.

    `owner` ("the agent") and `others` ("another agent") stand in what is said when it cannot be written, or
    another process works there: both are ConfigErrors.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            remedy=f"give {owner} a folder of its own with --home-dir",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{others} works in {folder}",
                remedy="stop it first, or choose another folder with --home-dir",
            ) from error
        yield folder

"""The agent's own folder: one process at a time, because it clears away what an earlier one left."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from pipecd.errors import ConfigError


@contextmanager
def own_folder(home: Path, piped_id: str) -> Iterator[Path]:
    """The folder of this piped below `home`, ours until the block ends. Raises ConfigError."""
    folder = home / quote(piped_id, safe="")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            remedy="give the agent a folder of its own with --home-dir",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another process of this agent works in {folder}",
                remedy="stop it first, or choose another folder with --home-dir",
            ) from error
        yield folder

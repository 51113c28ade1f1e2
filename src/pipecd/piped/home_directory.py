"""The agent's home directory, locked by one process, which removes an earlier process's files at startup."""

from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

from pipecd import locked_directory


def lock_home_directory(home: Path, piped_id: str) -> AbstractContextManager[Path]:
    """The directory of this piped below `home`, locked until the block ends. Raises ConfigError."""
    return locked_directory.lock_directory(
        home / quote(piped_id, safe=""), owner="the agent", others="another process of this agent"
    )
